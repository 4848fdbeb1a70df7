"""The page on objectives says what the code says: its example runs as it stands, and its tables leave nothing out."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from pushforward import lab
from pushforward.metrics.catalogue import METRICS

DOCS = Path(__file__).parents[1] / "docs"
THEORY = (DOCS / "theory.md").read_text(encoding="utf-8")
PAGE = (DOCS / "objectives.md").read_text(encoding="utf-8")
MODULES = re.findall(r"^## `(pushforward\.[\w.]+)`$", PAGE, flags=re.MULTILINE)


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_loop_of_ones_own_runs_as_printed_and_learns_what_it_says():
    (example,) = examples()
    before = torch.get_rng_state()
    names: dict[str, object] = {}
    try:
        exec(compile(example, "docs/objectives.md", "exec"), names)
    finally:
        torch.set_rng_state(before)
    corners, G = names["corners"], names["G"]
    assert isinstance(corners, torch.Tensor)
    assert isinstance(G, nn.Module)
    with torch.no_grad():
        x = G(torch.randn(2000, 2, generator=torch.Generator().manual_seed(1)))
    assert (torch.cdist(x, corners).min(dim=1).values < 0.4).float().mean() > 0.7
    assert x.mean(dim=0).norm() < 0.3  # no side is favoured


def test_the_example_is_as_short_as_it_is_said_to_be():
    (example,) = examples()
    body = [line for line in example.splitlines() if line.strip() and "import" not in line and "assert" not in line]
    assert len(body) <= 30


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_of_a_module_is_in_its_section_and_the_other_way_round(name):
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", name) == name and hasattr(value, "__module__")
    }
    section = PAGE.split(f"## `{name}`")[1].split("\n## ")[0]
    first = re.findall(r"^\| (`.*?) \|", section, flags=re.MULTILINE)
    listed = {key for cell in first for key in re.findall(r"`(\w+)", cell)}
    missing = {key for key in public if not re.search(rf"`[^`]*\b{key}\b", section)}
    assert listed
    assert listed <= set(vars(module))
    assert missing == set()


def test_the_page_covers_the_objectives():
    assert {"adversarial", "divergence", "penalties", "regularisers"} <= {name.split(".")[-1] for name in MODULES}


def test_the_theory_page_names_every_experiment_of_the_lab():
    lines = re.findall(r"^\| `([a-z-]+)` \|", THEORY.split("## The lab")[1], flags=re.MULTILINE)
    assert sorted(lines) == lab.names()


METRICS_PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")


def test_what_the_page_on_metrics_imports_is_there():
    (example,) = re.findall(r"^```python\n(.*?)^```$", METRICS_PAGE, flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in example.splitlines() if line.startswith("from ")]
    assert len(lines) > 5
    exec(compile("\n".join(lines), "docs/metrics.md", "exec"), {})


def test_the_page_on_metrics_names_only_metrics_that_there_are():
    rows = re.findall(r"^\| (`[a-z0-9_`, ]+`)", METRICS_PAGE, flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row)}
    assert len(named) > 8
    assert named <= set(METRICS)
