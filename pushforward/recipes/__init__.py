"""One file, one paper: `Config`, `PRESETS` by kind of data, and `build(cfg, spec) -> Game`.

A recipe's name is its file's name (`wgan-gp` is `wgan_gp.py`); a path to a file of one's own goes the same way.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from pushforward import shelf

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The recipes that come with the project."""
    return shelf.names(FOLDER)


def summary(name: str) -> str:
    """The first sentence of a recipe's docstring, read without importing it."""
    return shelf.summary(FOLDER, name)


def load(name: str) -> ModuleType:
    """The recipe's module, by its name or as a path to a Python file. Raises ValueError when there is none."""
    if name.endswith(".py"):
        return _from_file(Path(name))
    module = shelf.module_name(FOLDER, name, "recipe", ", or a path to a .py file")
    return importlib.import_module(f"pushforward.recipes.{module}")


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"the recipe {path} does not exist; give a recipe's name or a path to a .py file")
    # Dataclasses, and those who read their annotations and docstrings, look the module up by its name; no import can
    # mean this one, and none is hidden by it.
    name = f"recipe {path.resolve()}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for part in ("Config", "PRESETS", "build"):
        if not hasattr(module, part):
            raise ValueError(f"the recipe {path} has no {part}; a recipe has Config, PRESETS and build")
    return module
