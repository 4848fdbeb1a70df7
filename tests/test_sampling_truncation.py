"""Truncation of latents and of styles, from the function to the command line."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import pushforward as pf
from pushforward import sampling
from pushforward.cli import main
from pushforward.core.game import Game
from pushforward.run import Run

TINY = {
    "batch": 8, "examples": 24, "latent": 4, "width": 4, "conditioning": "projection", "ticks": 1, "pictures": 1,
    "evaluations": 0, "checkpoints": 1, "measure": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("runs")
    return {name: pf.train(name, data="digits", out=folder / name, **TINY) for name in ("stylegan", "progan")}


def styled(truncated: bool) -> Game:
    """A game that samples 1, or ψ where its styles are truncated, times the latent."""

    def times(factor: float) -> object:
        return lambda z, y=None: factor * z

    game = Game({}, lambda batches, clock: iter(()), times(1.0), (3,))  # type: ignore[arg-type]
    return dataclasses.replace(game, truncated=times) if truncated else game


def test_a_game_with_styles_truncates_these_and_leaves_its_latents() -> None:
    z = sampling.latents(5, (3,), seed=2)
    game, drawn = sampling.truncated(styled(True), 5, 2, 0.25)
    assert torch.equal(drawn, z)
    assert torch.equal(game.sample(drawn), 0.25 * z)
    assert torch.equal(sampling.generate(game, drawn, None, torch.device("cpu")), 0.25 * z)


def test_a_game_without_styles_truncates_its_latents() -> None:
    game, drawn = sampling.truncated(styled(False), 5, 2, 0.25)
    assert torch.equal(drawn, sampling.latents(5, (3,), seed=2, truncation=0.25))
    assert torch.equal(game.sample(drawn), drawn)
    assert drawn.abs().max() <= 0.25


@pytest.mark.parametrize("has_styles", [False, True])
def test_none_leaves_both(has_styles: bool) -> None:
    given = styled(has_styles)
    game, drawn = sampling.truncated(given, 5, 2)
    assert game is given
    assert torch.equal(drawn, sampling.latents(5, (3,), seed=2))


def test_latents_truncated_at_0_are_0_and_nearly_so_close_to_it() -> None:
    assert torch.equal(sampling.latents(4, (2, 3), seed=0, truncation=0.0), torch.zeros(4, 2, 3))
    near = sampling.latents(4, (2, 3), seed=0, truncation=1e-3)
    assert 0 < float(near.abs().max()) <= 1e-3


@pytest.mark.parametrize("has_styles", [False, True])
def test_a_negative_truncation_is_refused_in_one_line(has_styles: bool) -> None:
    with pytest.raises(ValueError, match=r"must not be negative, got -0\.5; 0 gives one image a class") as caught:
        sampling.truncated(styled(has_styles), 2, 0, -0.5)
    assert "\n" not in str(caught.value)
    for bound in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f"must be finite, got {bound}; leave it out for none"):
            sampling.truncated(styled(has_styles), 2, 0, bound)


@pytest.mark.parametrize("name", ["stylegan", "progan"])
def test_truncation_0_gives_one_image_a_class(runs: dict[str, Run], name: str) -> None:
    x, y = runs[name].sample_with_classes(30, truncation=0.0)
    assert y is not None
    images: list[Tensor] = []
    for k in range(10):
        torch.testing.assert_close(x[y == k], x[y == k][:1].expand(3, -1, -1, -1), rtol=1e-4, atol=1e-5)
        images.append(x[y == k][0])
    assert min(float((a - b).abs().max()) for i, a in enumerate(images) for b in images[:i]) > 1e-4
    free = runs[name].sample(30)
    assert float((free[0] - free[10]).abs().max()) > 1e-3  # of one class


def test_samples_come_closer_to_their_classs_image_as_psi_falls(runs: dict[str, Run]) -> None:
    middle = runs["stylegan"].sample(40, truncation=0.0)
    spread = [float((runs["stylegan"].sample(40, truncation=psi) - middle).square().mean()) for psi in (0.2, 0.6, 1.0)]
    assert 0 < spread[0] < spread[1] < spread[2]
    torch.testing.assert_close(
        runs["stylegan"].sample(4, truncation=1.0), runs["stylegan"].sample(4), rtol=1e-4, atol=1e-5
    )


def test_the_command_line_takes_0_and_names_a_negative_one(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = str(runs["stylegan"].folder), tmp_path / "x.npz"
    assert main(["sample", run, "-n", "20", "--truncation", "0", "--out", str(out)]) == 0
    with np.load(out) as arrays:
        assert np.array_equal(arrays["x"][:10], arrays["x"][10:])
    assert main(["sample", run, "--truncation", "-1"]) == 2
    assert "truncation must not be negative" in capsys.readouterr().err
