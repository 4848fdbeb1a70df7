"""The lab: small experiments in which the theory is seen to hold. One file, one experiment: `Config` and `run`.

An experiment's name is its file's name (`monte-carlo` is `monte_carlo.py`). `run(cfg, tell) -> Finding` does all the
work; `tell` is called with the share of it that is done.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from pushforward import shelf

FOLDER = Path(__file__).parent
Tell = Callable[[float], None]


def names() -> list[str]:
    """The experiments."""
    return shelf.names(FOLDER)


def summary(name: str) -> str:
    """The first sentence of an experiment's docstring, read without importing it."""
    return shelf.summary(FOLDER, name)


def load(name: str) -> ModuleType:
    """The experiment's module. Raises ValueError when there is none of that name."""
    return importlib.import_module(f"pushforward.lab.{shelf.module_name(FOLDER, name, 'experiment')}")
