"""The latent tools on every image recipe, told the class and not: each leaves a picture of what it was asked for."""

from pathlib import Path
from typing import Any

import pytest
import torch

import pushforward as pf
from pushforward.latent import directions, searches, tools
from pushforward.latent.generators import is_styled
from pushforward.latent.opened import Opened, Shown
from pushforward.latent.searches import projection, truncation
from pushforward.latent.tools import arithmetic, classes, interpolation, mixing

TINY = {
    "data": "digits", "batch": 8, "examples": 24, "latent": 8, "width": 8, "units": 8, "group": 4, "depth": 2,
    "blocks": 1, "critic_steps": 1, "coarsest": 4, "pyramid": False, "standing": 2, "evaluations": 0,
    "checkpoints": 1, "pictures": 1, "measure": False, "conditioning": None,
}  # fmt: skip
SHARED = {"data", "examples", "evaluations", "checkpoints", "pictures", "measure"}


def image_recipes() -> list[str]:
    return [name for name in pf.recipes.names() if "images" in pf.recipes.load(name).PRESETS]


def cases() -> list[Any]:
    found = []
    for name in image_recipes():
        fields = pf.recipes.load(name).Config.__dataclass_fields__
        ways = ("concatenation", "projection", None) if "conditioning" in fields else (None,)
        found += [pytest.param(name, told, id=f"{name}-{told}") for told in ways]
    return found


@pytest.mark.parametrize(("name", "told"), cases())
def test_every_tool_works_on_every_generator(
    name: str, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[torch.Tensor]
) -> None:
    monkeypatch.setattr(searches, "FITTED", 100)
    monkeypatch.setattr(searches, "COMPARED", 40)
    fields = pf.recipes.load(name).Config.__dataclass_fields__
    options = {k: v for k, v in TINY.items() if k in fields or k in SHARED}
    options |= {"conditioning": told} if "conditioning" in fields else {}
    options |= {"phase": 5} if name == "progan" else {}
    opened = Opened(pf.train(name, out=tmp_path / "run", **options), device="cpu")
    assert opened.classes == (10 if told else None)
    shown = [interpolation(opened, n=2, steps=3), projection(opened, "3", restarts=2, steps=2, distance="pixels")]
    styled = is_styled(opened.network)
    for space in ("z", "w") if styled else ("z",):
        for method in ("sefa", "ganspace"):
            found = searches.directions(opened, method, 2, steps=3, space=space)  # type: ignore[arg-type]
            assert all(value > 0 for value in found.numbers["values"]), (space, method)
            assert max(found.numbers["change_over_random"]) > 0, (space, method)
            vectors = torch.from_numpy(found.arrays["vectors"])
            torch.testing.assert_close(vectors.norm(dim=1), torch.ones(2))
            # Of LAPGAN's code the first layer reads the coarsest level's latent; in others, all of it or a part.
            assert name != "lapgan" or not vectors[:, 8:].any()
            shown.append(found)
    shown += [mixing(opened, 2)] if styled else []
    shown += [classes(opened, 2)] if told else []
    shown += [summed(opened, styled, monkeypatch, drawn)]
    truncate(opened, name, styled, monkeypatch)
    assert len(drawn) == len(shown)
    assert all(images.std() > 0 for images in drawn)  # little more, so soon after they began
    for one in shown:
        assert all(torch.from_numpy(x).isfinite().all() for x in one.arrays.values())


def summed(opened: Opened, styled: bool, monkeypatch: pytest.MonkeyPatch, drawn: list[torch.Tensor]) -> Shown:
    """Differences of classes; where nobody told the generator any, of images brighter and darker than the middle."""
    monkeypatch.setattr(tools, "DRAWN", 200)
    if opened.classes is None:
        middle = opened.game.sample(opened.latents(200, 0)).mean((1, 2, 3)).median()
        monkeypatch.setattr(opened, "classify", lambda x: (x.mean((1, 2, 3)) > middle.cpu()).long())
    found = arithmetic(opened, drawn=200)
    images, pairs = drawn[-1], found.numbers["pairs"]
    assert len(images) == len(pairs) == (opened.classes or 2)
    assert all((row[0] - row[-1]).abs().max() > 0 for row in images)
    if opened.classes is not None and not styled:
        z = opened.latents(len(pairs), 0)
        for end, of in ((0, "from"), (-1, "to")):
            asked = opened.game.sample(z, torch.tensor([pair[of] for pair in pairs]))
            torch.testing.assert_close(images[:, end], asked, rtol=1e-4, atol=1e-5)
    if opened.classes is None:
        assert all((pair["kept"][0], pair["reached"][0]) == (1, 0) for pair in pairs)
    return found


def truncate(opened: Opened, name: str, styled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of a class are nearly one image under a truncation to nearly 0; precision and recall are shares."""
    spread, sweep = {}, searches.truncation_sweep

    def seen(features: Any, *given: Any, **named: Any) -> Any:
        for bound in (0.01, None):
            spread[bound] = float(features(bound)[:: opened.classes or 1].std(0).mean())
        return sweep(features, *given, **named)

    monkeypatch.setattr(searches, "truncation_sweep", seen)
    found = truncation(opened, [0.5], 60, features="pixels").numbers
    assert found["space"] == ("w" if styled else "z")
    assert [point["truncation"] for point in found["points"]] == [0.5, None]
    assert all(0 <= point[of]["value"] <= 1 for point in found["points"] for of in ("precision", "recall"))
    assert spread[None] > 0
    # ProGAN puts z alone on a sphere, so that only its direction is left, of which a bound says little.
    assert spread[0.01] < spread[None] / 5 or (name == "progan" and opened.classes is None)
    if not styled:
        with pytest.raises(ValueError, match="has no styles to draw towards their mean; use --space z"):
            truncation(opened, space="w", features="pixels")


def test_the_generators_of_all_levels_are_one_network_with_gradients(tmp_path: Path) -> None:
    run = pf.train("lapgan", out=tmp_path / "run", **{k: v for k, v in TINY.items() if k in SHARED}, coarsest=4)
    opened = Opened(run, device="cpu")
    z = opened.latents(3, 0).requires_grad_(True)
    assert opened.network is not None
    made = opened.network(z)
    assert torch.equal(made, opened.game.sample(z))
    (slope,) = torch.autograd.grad(made.square().sum(), z)
    assert (slope.abs().sum(0) > 0).all()  # each number of the code, noise of the finest level included
    assert len(directions.readers(lambda: opened.game.sample(z), z)) == 1
