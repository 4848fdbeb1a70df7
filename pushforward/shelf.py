"""A folder of modules that a person calls by name: recipes and experiments. `wgan-gp` is `wgan_gp.py`."""

import ast
import difflib
from pathlib import Path


def names(folder: Path) -> list[str]:
    """The names of the modules in a folder; those that start with an underscore are not for calling."""
    return sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if not p.stem.startswith("_"))


def summary(folder: Path, name: str) -> str:
    """The first sentence of a module's docstring, read without importing it."""
    path = folder / (name.replace("-", "_") + ".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".")


def module_name(folder: Path, name: str, kind: str, otherwise: str = "") -> str:
    """A name as Python spells it. Raises ValueError, with the nearest name, when the folder has none such.

    kind: what is looked for, in a word; otherwise: what else could have been given.
    """
    known = names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}{otherwise}"
        raise ValueError(f"there is no {kind} {name!r}; {hint}")
    return name.replace("-", "_")
