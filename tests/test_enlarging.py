"""Samples larger than what was learnt, by the levels of LAPGAN, which take any size."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import pushforward as pf
from pushforward.cli import main
from pushforward.networks.lapgan import smoother
from pushforward.run import Run

TINY = {
    "data": "digits", "batch": 8, "width": 4, "examples": 64, "evaluations": 0, "checkpoints": 1, "measure": False,
    "pictures": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    out = tmp_path_factory.mktemp("runs")
    more = {"lapgan": {"coarsest": 4, "units": 8, "conditioning": "concatenation"}, "dcgan": {}}
    return {name: pf.train(name, out=out / name, **TINY, **options) for name, options in more.items()}


def test_each_doubling_adds_detail_to_the_smoothed_image_by_the_same_draws_for_any_number(runs: dict[str, Run]) -> None:
    found: list[Tensor] = [runs["lapgan"].sample(6, enlarge=k, seed=3) for k in range(3)]
    assert [tuple(x.shape) for x in found] == [(6, 1, 8, 8), (6, 1, 16, 16), (6, 1, 32, 32)]
    assert torch.equal(found[0], runs["lapgan"].sample(6, seed=3))
    torch.testing.assert_close(runs["lapgan"].sample(2, enlarge=2, seed=3), found[2][:2], rtol=1e-4, atol=1e-5)
    game, y = runs["lapgan"].game(device="cpu"), torch.arange(6) % 10
    assert game.enlarge is not None
    noise, smooth = torch.randn(6, 1, 32, 32, generator=torch.Generator()), smoother(found[1])
    twice = game.enlarge(found[1], noise, y)
    assert not torch.allclose(twice, found[2])  # other noise, other detail
    player = game.players["generator"]
    assert player.ema is not None
    detail = player.ema.nets["G"].eval()(torch.cat([noise, smooth], 1), y)
    assert float(detail.std()) > 0
    torch.testing.assert_close(twice, smooth + detail)


def test_truncation_is_of_the_noise_of_larger_levels_too(runs: dict[str, Run]) -> None:
    one, other = runs["lapgan"].sample(2, y=3, truncation=0, enlarge=2)
    torch.testing.assert_close(one, other)
    some, free = (runs["lapgan"].sample(8, enlarge=1, truncation=t) for t in (1e-3, 8.0))
    none = runs["lapgan"].sample(8, enlarge=1, truncation=0)
    assert 0 < float((some - none).abs().max()) < 0.1 * float((free - none).abs().max())


def test_images_are_doubled_alike_in_however_many_parts(runs: dict[str, Run]) -> None:
    many, few = (runs["lapgan"].sample(n, enlarge=1, seed=1) for n in (53, 2))
    assert len(many) == 53
    torch.testing.assert_close(many[:2], few, rtol=1e-4, atol=1e-5)
    assert float((many[50:] - many[:3]).abs().max()) > 0


def test_the_command_writes_them_and_refuses_generators_of_one_size(
    runs: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "x.npz"
    assert main(["sample", str(runs["lapgan"].folder), "-n", "5", "--enlarge", "1", "--out", str(out)]) == 0
    assert np.load(out)["x"].shape == (5, 16, 16, 1)
    assert main(["sample", str(runs["dcgan"].folder), "--enlarge", "1"]) == 2
    assert "makes images of one size, got 1 doublings; leave them out, or train lapgan" in capsys.readouterr().err
    assert main(["sample", str(runs["lapgan"].folder), "--enlarge", "-1"]) == 2
    assert "doubled 0 or more times, got -1" in capsys.readouterr().err
