import dataclasses

import numpy as np
import pytest
import torch
from by_formula import image
from torch import nn

from pushforward.encoders.catalogue import NAMES, encoder_named
from pushforward.encoders.encoder import IMAGENET, Encoder, Scale, standardised
from pushforward.encoders.resize import resized


class Means(nn.Module):
    """Row and column means as features, the corner as logits; tells how many images came at once."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.batches: list[int] = []

    def forward(self, x):
        assert not self.training
        assert not torch.is_grad_enabled()
        assert x.dtype == torch.float32
        self.batches.append(len(x))
        return torch.cat([x.mean(3).flatten(1), x.mean(2).flatten(1)], 1), x[:, :, 0, 0] @ torch.ones(x.shape[1], 5)


def encoder(size=(8, 8), channels=3, resize="clean"):
    scale = Scale((127.5,), (127.5,))
    width, cpu = channels * sum(size), torch.device("cpu")
    return Encoder("means", Means().eval(), width, size, lambda _: scale, resize, "ab", cpu, channels)


def test_every_image_is_encoded_in_order_whatever_the_batch_and_none_is_dropped():
    x = torch.stack([image(8, 8).roll(i, 2) for i in range(7)])
    e = encoder()
    whole = e.encode(x, batch=7)
    assert whole.features.shape == (7, 48)
    assert whole.logits.shape == (7, 5)
    torch.testing.assert_close(whole.features[:, :24], (x.float() / 127.5 - 1).mean(3).flatten(1))
    for batch in (1, 3, 100):
        part = e.encode(x, batch=batch)
        torch.testing.assert_close(part.features, whole.features, rtol=0, atol=1e-6)
        torch.testing.assert_close(part.logits, whole.logits, rtol=0, atol=1e-6)
    assert e.network.batches == [7, *([1] * 7), 3, 3, 1, 7]


def test_images_of_different_sizes_and_kinds_give_the_rows_of_each_alone():
    arrays = [image(h, w).permute(1, 2, 0).numpy() for h, w in ((8, 8), (20, 5), (8, 8), (31, 31))]
    grey = image(9, 9, 1)
    mixed = [arrays[0], torch.from_numpy(arrays[1]).permute(2, 0, 1), arrays[2][:, ::-1], grey[0].numpy(), grey]
    e = encoder()
    got = e.encode(mixed, batch=3).features
    alone = torch.cat([e.encode([one]).features for one in mixed])
    torch.testing.assert_close(got, alone, rtol=0, atol=1e-6)
    assert torch.equal(got[3], got[4])
    expected = resized(torch.from_numpy(arrays[1]).permute(2, 0, 1)[None], (8, 8), "clean") / 127.5 - 1
    torch.testing.assert_close(got[1, :24], expected[0].mean(2).flatten())
    assert torch.equal(e.encode(iter(mixed)).features, e.encode(mixed).features)
    assert torch.equal(e.encode(np.stack([arrays[0], arrays[2]])).features, e.encode([arrays[0], arrays[2]]).features)


def test_grey_is_three_equal_channels():
    grey, e = image(12, 9, 1), encoder()
    torch.testing.assert_close(e.encode(grey[None]).features, e.encode(grey.expand(3, -1, -1)[None]).features)
    assert encoder(channels=1).encode(grey[None]).features.shape == (1, 16)


def test_encoding_changes_nothing_and_needs_no_grad_mode_or_precision_around_it():
    e, x = encoder(), image(8, 8)[None]
    x0, state = x.clone(), {k: v.clone() for k, v in e.network.state_dict().items()}
    torch.manual_seed(1)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    plain = e.encode(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = e.encode(x)
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(plain.logits, half.logits)
    torch.testing.assert_close(plain.logits[0, 0], (x[0, :, 0, 0] / 127.5 - 1).sum(), rtol=0, atol=1e-6)
    assert torch.is_grad_enabled()
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads
    assert torch.equal(x, x0)
    assert not e.network.training
    assert all(torch.equal(state[k], v) for k, v in e.network.state_dict().items())


def test_read_only_arrays_are_taken_without_a_warning():
    array = image(8, 8).permute(1, 2, 0).numpy()
    expected = encoder().encode([array]).features
    array.setflags(write=False)
    assert torch.equal(encoder().encode([array]).features, expected)


def test_no_images_are_no_rows():
    got = encoder().encode([])
    assert got.features.shape == (0, 48)
    assert encoder().encode(torch.zeros(0, 3, 4, 4, dtype=torch.uint8)).features.shape == (0, 48)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.float32)], "image 1 must be bytes .* got torch.float32"),
        ([np.zeros((4, 4), np.uint16)], "image 0 must be bytes"),
        ([np.zeros((4, 4, 4), np.uint8)], r"image 0 must have 1 or 3 channels, .* got \(4, 4, 4\)"),
        ([np.zeros((0, 4, 3), np.uint8)], r"image 0 .* got \(0, 4, 3\)"),
        (torch.zeros(3, 4, 4, dtype=torch.uint8), r"\[N, C, H, W\], got \(3, 4, 4\)"),
        (torch.zeros(2, 3, 4, 4), "image 0 must be bytes"),
    ],
)
def test_what_is_no_image_of_bytes_is_refused_by_number(images, words):
    with pytest.raises(ValueError, match=words):
        encoder().encode(images)


def test_a_network_of_grey_images_refuses_colour_and_a_batch_holds_an_image():
    with pytest.raises(ValueError, match="must have 1 channel, as"):
        encoder(channels=1).encode(image(8, 8)[None])
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        encoder().encode(image(8, 8)[None], batch=0)


def test_the_fingerprint_follows_weights_resize_size_and_scale_and_nothing_else():
    e = encoder()
    assert e.fingerprint == encoder().fingerprint
    assert len(e.fingerprint) == 64
    others = [
        dataclasses.replace(e, weights="cd"),
        e.with_resize("legacy-tf"),
        dataclasses.replace(e, size=(9, 9)),
        dataclasses.replace(e, name="other"),
        dataclasses.replace(e, channels=1),
        dataclasses.replace(e, scale=lambda _: IMAGENET),
    ]
    prints = [other.fingerprint for other in others]
    assert len({e.fingerprint, *prints}) == 7
    assert dataclasses.replace(e, device=torch.device("meta")).fingerprint == e.fingerprint


def test_scales_are_the_stated_ranges():
    x = torch.tensor([0.0, 255.0]).view(1, 1, 1, 2).expand(1, 3, 1, 2)
    got = IMAGENET(x)
    torch.testing.assert_close(got[0, :, 0, 0], torch.tensor([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]))
    torch.testing.assert_close(got[0, :, 0, 1], torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))
    torch.testing.assert_close(standardised((0.5,), (0.5,))(x)[0, 0, 0], torch.tensor([-1.0, 1.0]))


def test_names_lead_to_their_own_weights_and_others_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path))
    for name in NAMES:
        with pytest.raises(ValueError, match=f"the weights of {name} are not there: .*{tmp_path}/weights/{name}/"):
            encoder_named(name)
    with pytest.raises(ValueError, match="a network is one of inception, dinov2, dinov2-b, clip, clip-l, got 'vgg'"):
        encoder_named("vgg")
