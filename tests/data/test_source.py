import numpy as np
import pytest
import torch

from pushforward.core.seeding import seed_of
from pushforward.data.catalogue import open_data
from pushforward.data.source import BLOCK, ArrayData, Data, StreamData, digest
from pushforward.data.spec import DataSpec

CPU = torch.device("cpu")
SOURCES = ("numbered", "grid25", "stacked-digits")


def numbered(n: int = 100) -> ArrayData:
    """Example i is a picture whose first two pixels spell i; its label is i."""
    x = np.zeros((n, 1, 2, 2), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = np.divmod(np.arange(n), 256)
    return ArrayData(DataSpec("numbered", "images", (1, 2, 2), n), x, np.arange(n), None, digest(x))


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest) -> Data:
    return numbered() if request.param == "numbered" else open_data(request.param)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def joined(parts: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("start", [0, 90, BLOCK - 50, 3 * BLOCK - 1])
def test_a_stream_does_not_depend_on_how_it_is_cut(source: Data, start: int) -> None:
    whole = source.batch(5, start, start + 120, CPU)
    for step in (1, 7, 60):
        cuts = [(at, min(at + step, start + 120)) for at in range(start, start + 120, step)]
        assert same(whole, joined([source.batch(5, a, b, CPU) for a, b in cuts]))


def test_two_processes_halves_are_the_whole_batch(source: Data) -> None:
    whole = source.batch(1, 4064, 4128, CPU)
    second = source.batch(1, 4096, 4128, CPU)  # read first, as an eager process would
    assert same(whole, joined([source.batch(1, 4064, 4096, CPU), second]))


def test_a_stream_depends_on_the_seed_alone_and_is_the_same_when_read_again(source: Data) -> None:
    first = source.batch(0, 10, 40, CPU)
    assert not torch.equal(first["x"], source.batch(1, 10, 40, CPU)["x"])
    source.batch(0, 10_000, 10_040, CPU)
    source.examples(20, 0)
    assert same(first, source.batch(0, 10, 40, CPU))


def test_each_epoch_shows_each_example_once_and_drops_none() -> None:
    data = numbered(100)
    batches = [data.batch(3, at, at + 30, CPU)["y"] for at in range(0, 300, 30)]
    seen = torch.cat(batches).reshape(3, 100)
    assert all(torch.equal(epoch.sort().values, torch.arange(100)) for epoch in seen)
    assert not torch.equal(seen[0], seen[1])


def test_a_batch_larger_than_the_data_holds_whole_epochs() -> None:
    assert numbered(10).batch(0, 0, 35, CPU)["y"].bincount().tolist() == pytest.approx([3.5] * 10, abs=0.5)


def test_labels_travel_with_their_examples() -> None:
    batch = numbered(300).batch(0, 250, 350, CPU)
    high, low = ((batch["x"][:, 0, 0] + 1) * 127.5).round().long().unbind(1)
    assert torch.equal(256 * high + low, batch["y"])


def test_a_batch_handed_out_is_not_overwritten_by_a_later_one(source: Data) -> None:
    first = source.batch(0, 0, 32, CPU)
    kept = {name: value.clone() for name, value in first.items()}
    first["x"].add_(0)  # its own memory, to be written to
    for at in range(32, 320, 32):
        source.batch(0, at, at + 32, CPU)["x"].zero_()
    assert same(first, kept)
    assert same(kept, source.batch(0, 0, 32, CPU))


def test_bytes_become_floats_from_minus_one_to_one_exactly() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    data = ArrayData(DataSpec("ramp", "images", (1, 1, 1)), x, None, None, "0")
    got = data.examples(256, 0)["x"].flatten().sort().values
    assert got[0] == -1
    assert got[-1] == 1
    assert torch.equal(((got + 1) * 127.5).round(), torch.arange(256.0))
    assert got.dtype == torch.float32


def test_examples_are_distinct_in_a_seeded_random_order_and_all_when_more_are_asked() -> None:
    data = numbered(50)
    assert len(set(data.examples(20, 0)["y"].tolist())) == 20
    every = data.examples(1000, 0)["y"]
    assert torch.equal(every.sort().values, torch.arange(50))
    assert not torch.equal(every, torch.arange(50))
    assert torch.equal(every, data.examples(50, 0)["y"])
    assert not torch.equal(every, data.examples(50, 1)["y"])


def test_evaluation_draws_a_law_afresh_and_not_from_the_training_stream() -> None:
    data = open_data("ring8")
    train, held = data.batch(0, 0, 1000, CPU)["x"], data.examples(1000, 0)["x"]
    assert held.shape == (1000, 2)
    assert not (train[:, None] == held).all(-1).any()
    assert torch.equal(held, data.examples(1000, 0)["x"])


def test_a_stream_block_is_drawn_from_seed_and_block_alone() -> None:
    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, None]:
        return rng.standard_normal((n, 3)), None

    data = StreamData(DataSpec("normal", "points", (3,)), draw, "0")
    expected = np.random.default_rng(seed_of("data", 9, 2)).standard_normal((BLOCK, 3))
    got = data.batch(9, 2 * BLOCK, 3 * BLOCK, CPU)["x"]
    np.testing.assert_array_equal(got.numpy(), expected.astype(np.float32))


def test_pictures_stored_channels_last_are_gathered_as_channels_first() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 3), np.uint8)
    spec = DataSpec("x", "images", (3, 4, 4))
    view = ArrayData(spec, x.transpose(0, 3, 1, 2), None, None, "0").batch(0, 0, 20, CPU)["x"]
    plain = ArrayData(spec, x.transpose(0, 3, 1, 2).copy(), None, None, "0").batch(0, 0, 20, CPU)["x"]
    assert torch.equal(view, plain)
    assert view.is_contiguous()


def test_the_digest_tells_contents_shapes_and_borders_apart() -> None:
    x = np.arange(6, dtype=np.uint8)
    parts = [(x,), (x.reshape(2, 3),), (x.astype(np.int16),), ("ab", "c"), ("a", "bc"), (x[::-1],)]
    assert len({digest(*part) for part in parts}) == len(parts)
    assert digest(x) == digest(x.copy())


def test_arrays_that_do_not_fit_their_spec_are_refused() -> None:
    spec = DataSpec("x", "images", (1, 2, 2))
    for x, y in [
        (np.zeros((3, 1, 2, 2), np.float32), None),
        (np.zeros((3, 2, 2), np.uint8), None),
        (np.zeros((0, 1, 2, 2), np.uint8), None),
        (np.zeros((3, 1, 2, 2), np.uint8), np.zeros(3, np.int64)),
    ]:
        with pytest.raises(ValueError, match=r"^x"):
            ArrayData(spec, x, y, None, "0")
    with pytest.raises(ValueError, match="0 <= start < stop"):
        numbered().batch(0, 5, 5, CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_an_accelerator_gets_the_same_stream(source: Data, resident: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pushforward.data.source.RESIDENT", 2**30 if resident else 0)
    if isinstance(source, ArrayData):
        source._home = {CPU: source._home[CPU]}
    for at in (0, 64, 4090):
        there = source.batch(0, at, at + 64, torch.device("cuda"))
        assert all(value.is_cuda for value in there.values())
        assert same({name: value.cpu() for name, value in there.items()}, source.batch(0, at, at + 64, CPU))


def test_a_part_of_a_data_set_is_distinct_examples_with_their_labels_and_always_the_same() -> None:
    whole = open_data("digits", progress=False)
    part, again = (open_data("digits", progress=False, limit=200) for _ in range(2))
    assert (part.size, part.spec, part.labels) == (200, whole.spec, whole.labels)
    assert part.fingerprint == again.fingerprint != whole.fingerprint
    assert part.fingerprint != open_data("digits", progress=False, limit=199).fingerprint
    x, y = part.levels(200, 0)
    assert torch.equal(x, again.levels(200, 0)[0])
    all_x, all_y = whole.levels(1797, 0)
    assert y is not None
    assert all_y is not None
    places = [int((all_x == image).flatten(1).all(1).nonzero()[0, 0]) for image in x]
    assert len(set(places)) == 200
    assert torch.equal(all_y[places], y)
    assert y.bincount().min() >= 8  # drawn from all of it, not its beginning


@pytest.mark.parametrize(
    ("name", "limit", "words"),
    [
        ("digits", 0, "the limit must be from 1 to the 1,797 examples of digits, got 0"),
        ("digits", 1798, "got 1798"),
        ("ring8", 5, "ring8 is a law without end, of which no part can be taken; leave out --limit"),
    ],
)
def test_a_part_that_cannot_be_taken_is_refused(name: str, limit: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_data(name, progress=False, limit=limit)
