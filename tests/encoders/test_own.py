import copy

import pytest
import torch
from by_formula import image
from torch import nn

from pushforward.encoders.own import SCALES, from_file, from_module


def net(channels=3):
    torch.manual_seed(0)
    layers = [nn.Conv2d(channels, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(2)]
    network = nn.Sequential(*layers)
    network(torch.randn(8, channels, 12, 12))  # running statistics of its own
    return network


@pytest.fixture(scope="module")
def images():
    return torch.stack([image(12, 12).roll(i, 1) for i in range(5)])


def exported(path, network, x, **options):
    torch.export.save(torch.export.export(network, (x,), **options), path)
    return path


def test_a_modules_features_are_flattened_in_eval_mode_and_it_is_not_touched(images):
    network = net().train()
    state, torch_state = copy.deepcopy(network.state_dict()), torch.random.get_rng_state()
    encoder = from_module(network, 12)
    got = encoder.encode(images, batch=2)
    assert encoder.width == 24
    assert encoder.name == "Sequential"
    assert got.logits is None
    assert all(module.training for module in network.modules())
    assert all(p.requires_grad for p in network.parameters())
    assert all(torch.equal(state[k], v) for k, v in network.state_dict().items())
    assert torch.equal(torch_state, torch.random.get_rng_state())
    with torch.no_grad():
        expected = copy.deepcopy(network).eval()(images.float() / 127.5 - 1).flatten(1)
    torch.testing.assert_close(got.features, expected, rtol=0, atol=1e-5)


def test_training_on_does_not_move_an_encoder(images):
    network = net()
    encoder = from_module(network, 12)
    before, name = encoder.encode(images).features, encoder.fingerprint
    with torch.no_grad():
        for p in network.parameters():
            p.mul_(2)
    assert torch.equal(encoder.encode(images).features, before)
    assert encoder.fingerprint == name
    assert from_module(network, 12).fingerprint != name


@pytest.mark.parametrize("values", list(SCALES))
def test_pixels_become_what_is_said(values, images):
    got = from_module(nn.Flatten(), 12, values).encode(images).features.view(5, 3, 12, 12)
    x = images.float()
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = {
        "symmetric": x / 127.5 - 1,
        "unit": x / 255,
        "imagenet": (x / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1),
        "bytes": x,
    }[values]
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


class Scores(nn.Module):
    def forward(self, x):
        return x.mean(3), x.amax((2, 3))


class Scaled(nn.Module):
    """Code without weights: what it does is in no tensor."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power

    def forward(self, x):
        return x.mean(3) ** self.power


def test_a_pair_is_features_and_logits(images):
    got = from_module(Scores(), 12).encode(images)
    assert got.features.shape == (5, 36)
    assert got.logits.shape == (5, 3)


def test_modules_that_differ_in_code_alone_have_different_fingerprints():
    prints = [from_module(Scaled(p), 12).fingerprint for p in (1, 2, 1)]
    assert prints[0] == prints[2] != prints[1]


class Noisy(nn.Module):
    def forward(self, x):
        return x.mean(3) + torch.randn(len(x), 1, 1)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten()), "must see each image by itself"),
        (Noisy(), "Noisy must see each image by itself, got features that move by"),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), r"must take images \[B, 3, 12, 12\], got RuntimeError"),
        (nn.Sequential(nn.Flatten(0)), r"must return features \[3, …\] or \(features, logits\), got \(1296,\)"),
    ],
)
def test_what_cannot_measure_one_image_is_refused(network, words):
    state = torch.random.get_rng_state()
    with pytest.raises(ValueError, match=words) as caught:
        from_module(network, 12)
    assert "\n" not in str(caught.value)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_module_that_cannot_be_copied_is_refused():
    network = nn.Linear(2, 2)
    network.made = network.weight * 2
    with pytest.raises(ValueError, match=r"Linear cannot be copied .* save it with torch\.export"):
        from_module(network, 12)


def test_values_and_channels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="symmetric, unit, imagenet, bytes, got 'tanh'"):
        from_module(nn.Flatten(), 12, "tanh")
    with pytest.raises(ValueError, match="imagenet's scale is for 3 channels, got 1"):
        from_module(nn.Flatten(), 12, "imagenet", channels=1)
    assert from_module(nn.Flatten(), 12, channels=1).width == 144


@pytest.mark.parametrize("batch", ["fixed", "free", "bounded"])
def test_an_exported_file_gives_the_modules_features_at_any_batch(tmp_path, images, batch):
    network = net().eval()
    limits = {"fixed": {}, "free": {"B": torch.export.Dim("B")}, "bounded": {"B": torch.export.Dim("B", min=2, max=3)}}
    options = {"dynamic_shapes": ({0: limits[batch]["B"]},)} if batch != "fixed" else {}
    path = exported(tmp_path / "mine.pt2", network, torch.rand(2, 3, 12, 12), **options)
    encoder = from_file(path)
    assert (encoder.name, encoder.size, encoder.width, encoder.channels) == ("mine", (12, 12), 24, 3)
    expected = from_module(network, 12).encode(images).features
    for at_once in (1, 2, 5):
        torch.testing.assert_close(encoder.encode(images, batch=at_once).features, expected, rtol=0, atol=1e-5)


def test_an_exported_files_fingerprint_is_its_bytes(tmp_path):
    a = exported(tmp_path / "a.pt2", nn.Flatten(), torch.rand(1, 3, 4, 4))
    encoder = from_file(a)
    assert encoder.weights == from_file(a).weights
    assert encoder.with_resize("legacy-tf").fingerprint != encoder.fingerprint
    assert from_file(a, values="unit").fingerprint != encoder.fingerprint


def test_the_size_is_said_where_the_file_leaves_it_free_and_only_there(tmp_path):
    free = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
    path = exported(tmp_path / "free.pt2", pool, torch.rand(1, 3, 8, 8), dynamic_shapes=(free,))
    with pytest.raises(ValueError, match="of any size; say at which"):
        from_file(path)
    assert from_file(path, size=(10, 6)).size == (10, 6)
    path = exported(tmp_path / "fixed.pt2", pool, torch.rand(1, 3, 8, 8))
    assert from_file(path, size=8).size == (8, 8)
    with pytest.raises(ValueError, match=r"takes images of 8×8, got the size \(9, 9\)"):
        from_file(path, size=9)


class Two(nn.Module):
    def forward(self, x, y):
        return x + y


def test_files_that_are_no_encoder_are_refused_in_one_line(tmp_path, images):
    x = torch.rand(2, 3, 8, 8)
    (tmp_path / "text.pt2").write_text("no archive")
    torch.save({"w": x}, tmp_path / "weights.pt2")
    torch.export.save(torch.export.export(Two(), (x, x)), tmp_path / "two.pt2")
    torch.export.save(torch.export.export(nn.BatchNorm2d(3).train(), (x,)), tmp_path / "train.pt2")
    torch.export.save(torch.export.export(nn.Flatten(), (torch.rand(2, 5),)), tmp_path / "flat.pt2")
    for name, words in {
        "text": "must be a file by torch.export.save",
        "weights": "must be a file by torch.export.save",
        "none": "must be a file by torch.export.save",
        "two": r"must take one tensor of images \[B, C, H, W\]",
        "train": "must see each image by itself",
        "flat": r"\[B, C, H, W\], got \[\(2, 5\)\]",
    }.items():
        with pytest.raises(ValueError, match=words) as caught:
            from_file(tmp_path / f"{name}.pt2")
        assert "\n" not in str(caught.value)
