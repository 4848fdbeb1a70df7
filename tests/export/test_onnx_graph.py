"""ONNX, by onnxruntime: the same samples to 1e-4, for any batch, with labels; or no folder."""

import builtins
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
import small_runs
import torch

from pushforward.export import graph, writing
from pushforward.export.folder import ONNX, PROGRAM
from pushforward.export.writing import export
from pushforward.run import Run


@pytest.mark.parametrize("n", [1, 5])
def test_onnxruntime_makes_the_runs_samples_for_any_batch(run: Run, exported: Path, n: int) -> None:
    game = run.game(device="cpu")
    z = torch.randn(n, *game.latent, generator=torch.Generator().manual_seed(n))
    made = {}
    for y in (torch.arange(n) % 3, torch.full((n,), 2)):
        (made[tuple(y.tolist())],) = small_runs.session(exported).run(
            ["samples"], {"latents": z.numpy(), "labels": y.numpy()}
        )
        wanted = game.sample(z, y).numpy()
        np.testing.assert_allclose(made[tuple(y.tolist())], wanted, rtol=0, atol=1e-4)
    first, second = made.values()
    assert np.abs(first - second).max() > 0.05  # the labels count


def test_points_are_made_too(tmp_path: Path) -> None:
    run = small_runs.make(tmp_path / "run", "gan", "points")
    folder = export(run, tmp_path / "generator", ("onnx",))
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    (x,) = small_runs.session(folder).run(["samples"], {"latents": z.numpy()})
    np.testing.assert_allclose(np.asarray(x), run.game(device="cpu").sample(z).numpy(), rtol=0, atol=1e-4)


def test_the_graph_says_what_it_takes_and_makes(exported: Path) -> None:
    opened = small_runs.session(exported)
    assert [(i.name, i.type, i.shape[1:]) for i in opened.get_inputs()] == [
        ("latents", "tensor(float)", [3]),
        ("labels", "tensor(int64)", []),
    ]
    (made,) = opened.get_outputs()
    assert (made.name, made.shape[1:]) == ("samples", [1, 8, 8])
    assert isinstance(made.shape[0], str)  # a batch of any size
    assert {node.op_type for node in onnx.load(exported / ONNX).graph.node}.isdisjoint({"RandomNormal", "Dropout"})
    told = opened.get_modelmeta().custom_metadata_map
    assert told["recipe"] == "cgan"
    assert told["labels"] == '["circle", "square | round", "star"]'


def test_a_graph_that_differs_is_refused_and_nothing_is_left(
    run: Run, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = graph.runner

    def off(path: Path) -> Any:
        made = true(path)
        return lambda z, y: made(z, y) + (2e-4 if len(z) > 1 else 0)

    monkeypatch.setattr(writing, "traced", lambda *_: torch.export.load(exported / PROGRAM))
    made = SimpleNamespace(model_proto=onnx.load(exported / ONNX))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: made)
    monkeypatch.setattr(graph, "runner", off)
    with pytest.raises(ValueError, match=r"the ONNX export must agree with the networks to 0.0001, .* for 5 samples"):
        export(run, tmp_path / "generator", ("onnx",))
    assert list(tmp_path.iterdir()) == []


def test_without_its_libraries_the_format_says_what_to_install(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "onnxruntime":
            raise ImportError(name=name)
        return there(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=r"got no onnxruntime; install them with: pip install 'pushforward\[export\]'"):
        export(run, tmp_path / "generator", ("onnx",))
