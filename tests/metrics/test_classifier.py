import pytest
import torch

from pushforward.metrics.classifier import Classifier, train_classifier


@pytest.fixture(scope="module")
def bars():
    """Bars in one of four rows of an 8×8 image, with noise: the row is the class."""
    stream = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 4
    x = torch.full((240, 1, 8, 8), -0.8)
    x[torch.arange(240), 0, 2 * y] = 0.8
    return (x + 0.1 * torch.randn(x.shape, generator=stream)).clamp(-1, 1), y


@pytest.fixture(scope="module")
def trained(bars):
    return train_classifier(*bars, classes=4, rounds=12)


def test_it_learns_and_tells_the_accuracy_on_images_it_never_saw(bars, trained):
    x, y = bars
    assert trained.held_out == 36
    assert 0.95 <= trained.accuracy <= 1
    assert 0.95 <= float((trained(x).classes == y).double().mean()) <= 1
    seen = trained(x)
    assert seen.features.shape == (240, 64)
    assert seen.logits.shape == (240, 4)
    assert float(seen.features.min()) >= 0


def test_labels_at_random_are_held_out_at_chance(bars):
    x, _ = bars
    y = torch.randint(4, (240,), generator=torch.Generator().manual_seed(1))
    assert train_classifier(x, y, 4, rounds=6).accuracy <= 0.55


def test_the_same_seed_gives_the_same_weights_and_global_state_stays(bars):
    torch.manual_seed(3)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    first, again, other = (
        train_classifier(bars[0], bars[1], 4, seed=s, rounds=1).network.state_dict() for s in (5, 5, 6)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_an_images_features_do_not_depend_on_its_batch_and_evaluation_changes_nothing(bars, trained):
    x, _ = bars
    state = {k: v.clone() for k, v in trained.network.state_dict().items()}
    whole, alone = trained(x).features, torch.cat([trained(x[i : i + 1]).features for i in range(4)])
    torch.testing.assert_close(whole[:4], alone, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(state[k], v) for k, v in trained.network.state_dict().items())
    assert trained(x[:0]).features.shape == (0, 64)


def test_a_saved_classifier_is_the_same_when_loaded(tmp_path, bars, trained):
    trained.save(tmp_path)
    torch.manual_seed(4)
    before = torch.random.get_rng_state()
    loaded = Classifier.load(tmp_path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (loaded.accuracy, loaded.held_out, loaded.shape, loaded.classes) == (trained.accuracy, 36, (1, 8, 8), 4)
    assert torch.equal(loaded(bars[0]).logits, trained(bars[0]).logits)
    assert {p.suffix for p in tmp_path.iterdir()} == {".safetensors", ".json"}
    (tmp_path / "rest.json").write_text('{"version": 0}')
    with pytest.raises(ValueError, match=r"classifier of version \d+, got 0"):
        Classifier.load(tmp_path)


@pytest.mark.parametrize("shape", [(3, 16, 20), (1, 70, 40)])
def test_any_shape_of_image_is_taken(shape):
    x = torch.rand((12, *shape), generator=torch.Generator().manual_seed(2)) * 2 - 1
    seen = train_classifier(x, torch.arange(12) % 2, 2, rounds=1)(x)
    assert seen.features.shape == (12, 128)
    assert bool(torch.isfinite(seen.features).all())


@pytest.mark.parametrize(
    ("x", "y", "classes", "words"),
    [
        (torch.zeros(8, 1, 8), torch.zeros(8).long(), 2, r"images \[N, C, H, W\]"),
        (torch.zeros(8, 1, 8, 8), torch.zeros(7).long(), 2, "N labels"),
        (torch.zeros(8, 1, 8, 8), torch.zeros(8).long(), 1, "2 classes and 4 images"),
        (torch.zeros(3, 1, 8, 8), torch.zeros(3).long(), 2, "2 classes and 4 images"),
        (torch.zeros(8, 1, 8, 8), torch.full((8,), 2), 2, "labels must be 0 to 1, got 2 to 2"),
        (torch.full((8, 1, 8, 8), 255.0), torch.zeros(8).long(), 2, r"in \[-1, 1\], got 255 to 255"),
        (torch.full((8, 1, 8, 8), torch.nan), torch.zeros(8).long(), 2, r"in \[-1, 1\], got nan"),
    ],
)
def test_what_cannot_be_learnt_is_refused(x, y, classes, words):
    with pytest.raises(ValueError, match=words):
        train_classifier(x, y, classes)


def test_images_of_another_shape_are_refused(trained):
    with pytest.raises(ValueError, match=r"takes images \(1, 8, 8\), got \(3, 8, 8\)"):
        trained(torch.zeros(2, 3, 8, 8))
