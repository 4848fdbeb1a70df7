"""One file, one paper: `Config`, `PRESETS` by kind of data, and `build(cfg, spec) -> Game`.

A recipe's name is its file's name (`wgan-gp` is `wgan_gp.py`); a path to a file of one's own goes the same way.
"""

import ast
import difflib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def names() -> list[str]:
    """The recipes that come with the project."""
    return sorted(p.stem.replace("_", "-") for p in Path(__file__).parent.glob("*.py") if p.stem != "__init__")


def summary(name: str) -> str:
    """The first sentence of a recipe's docstring, read without importing it."""
    path = Path(__file__).with_name(name.replace("-", "_") + ".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def load(name: str) -> ModuleType:
    """The recipe's module, by its name or as a path to a Python file. Raises ValueError when there is none."""
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(names())}, or a path to a .py file"
        raise ValueError(f"there is no recipe {name!r}; {hint}")
    return importlib.import_module(f"pushforward.recipes.{name.replace('-', '_')}")


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
