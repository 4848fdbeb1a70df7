"""Who may import whom, and what is not to be written, read from the source itself."""

import ast
from pathlib import Path
from typing import TypeGuard

import pytest

import pushforward

ROOT = Path(pushforward.__file__).parent

# A package may import itself, `core.seeding` (which depends on nothing), and what stands here, packages or single
# modules. Modules at the top compose everything, except those that packages import: they must depend on nothing.
EVERYTHING = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
MAY_IMPORT = {
    "core": set(),
    "layers": set(),
    "objectives": set(),
    "metrics": set(),
    "data": set(),
    "networks": {"layers"},
    "encoders": {"data.cache"},
    "augment": set(),
    "games": {"augment", "core", "layers", "objectives"},
    "recipes": {"augment", "core", "data", "games", "layers", "networks", "objectives", "shelf"},
    "export": {
        *("__version__", "core", "data", "encoders.weights", "exhibits", "metrics"),
        *("pictures", "recipes", "run", "sampling"),
    },
    "report": {"pictures"},
    "latent": {"core", "data", "encoders", "exhibits", "metrics", "pictures", "run", "sampling", "spaces"},
    "lab": {"core", "data", "estimation", "layers", "metrics", "networks", "objectives", "report", "shelf"},
    "judge": {"metrics", "report"},
    "compare": {"__version__", "cli", "core", "course", "data", "metrics", "pictures", "recipes", "report", "run"},
    "commands": {*EVERYTHING, "__version__"},
}
LEAVES = {"pictures", "shelf"}
# The one module that may call torch.load, and only so that nothing but tensors is built.
READS_CHECKPOINTS = "pushforward.encoders.weights"
FORBIDDEN_NAMES = {"utils", "util", "base", "registry", "constants", "types", "helpers", "misc", "common"}
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def imported(source: str, module: str, is_package: bool) -> list[str]:
    """Full names of all that a source imports, wherever in the file, relative imports resolved."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                here = module.split(".")
                here = here[: len(here) - node.level + is_package]
                start = ".".join([*here, *([node.module] if node.module else [])])
            names += [f"{start}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ("import_module", "__import__"):
            names += [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return names


def may_import(home: str, name: str) -> bool:
    allowed = ("core.seeding", *MAY_IMPORT.get(home, ()))
    return any(f"{name}.".startswith(f"pushforward.{there}.") for there in allowed)


def reads_tensors_only(node: ast.AST) -> TypeGuard[ast.Call]:
    """Whether this is `torch.load(…, weights_only=True)`, with True written out."""
    if not isinstance(node, ast.Call) or ast.unparse(node.func) != "torch.load":
        return False
    return any(
        key.arg == "weights_only" and isinstance(key.value, ast.Constant) and key.value.value is True
        for key in node.keywords
    )


def offences(source: str, module: str, is_package: bool = False) -> list[str]:
    """What in a module goes against the rules, one line each."""
    found, parts = [], module.split(".")
    home = parts[1] if len(parts) > 1 else ""
    inside = (ROOT / home).is_dir() if home else False
    if parts[-1] in FORBIDDEN_NAMES:
        found.append(f"{module}: a name that says nothing")
    for name in imported(source, module, is_package):
        if name.endswith(".*"):
            found.append(f"{module}: wildcard import of {name[:-2]}")
        if name.split(".")[0] in PICKLES:
            found.append(f"{module}: imports {name}; nothing is pickled here")
        if name.split(".")[0] != "pushforward":
            continue
        there = [*name.split("."), ""][1]
        if home in LEAVES:
            found.append(f"{module}: imports {name}; packages import it, so it must depend on nothing")
        elif inside and home == "recipes" and there == "recipes" and module != "pushforward.recipes":
            found.append(f"{module}: imports {name}; a recipe stands alone")
        elif inside and there != home and not may_import(home, name):
            found.append(f"{module}: imports {name}")
    tree = ast.parse(source)
    safe = {id(node.func) for node in ast.walk(tree) if module == READS_CHECKPOINTS and reads_tensors_only(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            found.append(f"{module}:{node.lineno}: bare except")
        pickles = isinstance(node, ast.Attribute) and ast.unparse(node) in ("torch.load", "torch.save")
        if pickles and id(node) not in safe:
            found.append(f"{module}:{node.lineno}: {ast.unparse(node)}; tensors are kept in safetensors")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and getattr(node.value, "value", None) is True:
            found.append(f"{module}: allow_pickle")
    return found


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = ["pushforward", *path.relative_to(ROOT).with_suffix("").parts]
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


@pytest.mark.parametrize(("module", "path"), [pytest.param(m, p, id=m) for m, p in modules()])
def test_imports_go_one_way_and_nothing_forbidden_is_written(module, path):
    assert offences(path.read_text(encoding="utf-8"), module, path.name == "__init__.py") == []


def test_every_package_says_what_it_may_import():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages <= set(MAY_IMPORT), packages - set(MAY_IMPORT)


def test_the_seeds_depend_on_nothing_of_ours():
    source = (ROOT / "core" / "seeding.py").read_text(encoding="utf-8")
    names = imported(source, "pushforward.core.seeding", False)
    assert names
    assert not any(name.split(".")[0] == "pushforward" for name in names)


@pytest.mark.parametrize(
    ("module", "source", "words"),
    [
        ("pushforward.core.engine", "from pushforward.objectives import adversarial", "imports pushforward.objectives"),
        ("pushforward.core.engine", "def f():\n    import pushforward.data.toy", "imports pushforward.data.toy"),
        ("pushforward.core.engine", "from ..networks.mlp import Generator", "imports pushforward.networks.mlp"),
        ("pushforward.core", "from ..networks import mlp", "imports pushforward.networks.mlp"),
        ("pushforward.layers.norm", "if True:\n    from pushforward import networks", "imports pushforward.networks"),
        (
            "pushforward.networks.mlp",
            "from pushforward.objectives.penalties import x",
            "imports pushforward.objectives",
        ),
        ("pushforward.networks.mlp", "from pushforward.core.game import Game", "imports pushforward.core.game"),
        ("pushforward.metrics.frechet", "from pushforward.data.spec import DataSpec", "imports pushforward.data.spec"),
        ("pushforward.data.toy", "from pushforward.core import engine", "imports pushforward.core.engine"),
        ("pushforward.recipes.dcgan", "from pushforward.metrics import frechet", "imports pushforward.metrics"),
        ("pushforward.recipes.dcgan", "from pushforward.recipes.gan import Config", "a recipe stands alone"),
        ("pushforward.recipes.dcgan", "from . import gan", "a recipe stands alone"),
        ("pushforward.report.page", "from pushforward.session import train", "imports pushforward.session"),
        ("pushforward.report.page", "import pushforward", "imports pushforward"),
        ("pushforward.pictures", "from pushforward.data.spec import DataSpec", "must depend on nothing"),
        ("pushforward.data.utils", "", "a name that says nothing"),
        ("pushforward.cli", "from torch.nn import *", "wildcard import of torch.nn"),
        ("pushforward.core.checkpoint", "import pickle", "nothing is pickled"),
        ("pushforward.session", "import torch\ntorch.load('x')", "safetensors"),
        ("pushforward.session", "torch.load('x', weights_only=True)", "safetensors"),
        ("pushforward.encoders.weights", "torch.load('x')", "safetensors"),
        ("pushforward.encoders.weights", "torch.load('x', weights_only=False)", "safetensors"),
        ("pushforward.encoders.weights", "torch.load('x', weights_only=trusted)", "safetensors"),
        ("pushforward.encoders.weights", "torch.load('x', **{'weights_only': True})", "safetensors"),
        ("pushforward.encoders.weights", "torch.save({}, 'x', weights_only=True)", "safetensors"),
        ("pushforward.encoders.weights", "read = torch.load", "safetensors"),
        ("pushforward.encoders.own", "from pushforward.data.catalogue import x", "imports pushforward.data.catalogue"),
        ("pushforward.encoders.own", "from pushforward.data import caches", "imports pushforward.data.caches"),
        ("pushforward.data.arrays", "np.load(f, allow_pickle=True)", "allow_pickle"),
        ("pushforward.cli", "try:\n    pass\nexcept:\n    pass", "bare except"),
        (
            "pushforward.layers.norm",
            "importlib.import_module('pushforward.core.game')",
            "imports pushforward.core.game",
        ),
    ],
)
def test_an_offence_is_found(module, source, words):
    found = offences(source, module, is_package=module.count(".") == 1 and module != "pushforward.cli")
    assert len(found) == 1
    assert words in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("pushforward.metrics.frechet", "from pushforward.core.seeding import seed_of\nfrom .moments import gaussian"),
        ("pushforward.networks.mlp", "from pushforward.layers.activation import relu\nfrom . import stages"),
        ("pushforward.recipes.dcgan", "from pushforward.core.duel import alternate\nimport torch"),
        ("pushforward.session", "import pushforward\nfrom pushforward import recipes, core, metrics"),
        ("pushforward.encoders.weights", "torch.load('x', map_location='cpu', weights_only=True)"),
        ("pushforward.encoders.weights", "from pushforward.data.cache import cached"),
        ("pushforward.report.page", "from pushforward.pictures import grid\nfrom pushforward.report import tiles"),
    ],
)
def test_what_is_allowed_is_no_offence(module, source):
    assert offences(source, module) == []
