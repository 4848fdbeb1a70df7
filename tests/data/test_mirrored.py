"""Mirror images: which positions have them is as fixed as the stream, and evaluation sees none."""

import pytest
import torch

from pushforward.data.catalogue import open_data
from pushforward.data.mirrored import Mirrored
from pushforward.data.source import BLOCK, Data

CPU = torch.device("cpu")


@pytest.fixture(params=["digits", "stacked-digits"])
def pair(request: pytest.FixtureRequest) -> tuple[Data, Data]:
    """Data as they are, and mirrored."""
    plain, mirrored = (open_data(request.param, progress=False, mirror=mirror) for mirror in (False, True))
    assert isinstance(mirrored, Mirrored)
    return plain, mirrored


def test_half_of_the_images_are_mirrored_and_nothing_else_changes(pair: tuple[Data, Data]) -> None:
    plain, mirrored = (data.batch(3, 4000, 5000, CPU) for data in pair)
    as_it_is = (mirrored["x"] == plain["x"]).flatten(1).all(1)
    turned = (mirrored["x"] == plain["x"].flip(3)).flatten(1).all(1)
    assert (as_it_is | turned).all()
    assert 0.45 < turned.float().mean() < 0.55  # three standard deviations are 0.047
    assert plain.keys() == mirrored.keys()
    if "y" in plain:
        assert torch.equal(plain["y"], mirrored["y"])


def test_which_ones_depends_on_seed_and_position_alone(pair: tuple[Data, Data]) -> None:
    _, data = pair
    whole = data.batch(0, BLOCK - 60, BLOCK + 40, CPU)["x"]
    parts = [data.batch(0, start, stop, CPU)["x"] for start, stop in ((BLOCK - 60, BLOCK - 7), (BLOCK - 7, BLOCK + 40))]
    assert torch.equal(torch.cat(parts), whole)
    both = [[data.batch(seed, 0, 100, CPU)["x"] for data in pair] for seed in (0, 1)]
    turned = [(plain != mirrored).flatten(1).any(1) for plain, mirrored in both]
    assert not torch.equal(*turned)


def test_evaluation_sees_images_as_they_are_and_a_run_knows_the_difference(pair: tuple[Data, Data]) -> None:
    plain, mirrored = pair
    assert torch.equal(plain.examples(50, 0)["x"], mirrored.examples(50, 0)["x"])
    assert torch.equal(plain.levels(50, 0)[0], mirrored.levels(50, 0)[0])
    assert plain.fingerprint != mirrored.fingerprint
    assert (plain.spec, plain.size, plain.labels) == (mirrored.spec, mirrored.size, mirrored.labels)


def test_points_have_no_mirror_images() -> None:
    with pytest.raises(ValueError, match="points such as ring8's have no mirror images; leave out --mirror"):
        open_data("ring8", progress=False, mirror=True)
