"""Values are other programs', at the weights and images of `by_formula`: two blocks of width 128.

dinov2 0.0.1.dev2, the authors' package, made those of DINOv2, and transformers 5.23.0 those of CLIP
(CLIPVisionModelWithProjection), on torch 2.13.0. timm 1.0.31 and transformers' Dinov2Model agree with the former to
2e-6 at 518 pixels, where no position is interpolated; at 224 pixels transformers interpolates otherwise than DINOv2's
authors, and is 4 % off.
"""

import pytest
import torch
from by_formula import clip_shapes, dinov2_shapes, image, weights
from safetensors.torch import save_file

from pushforward.encoders import clip, dinov2
from pushforward.encoders.encoder import IMAGENET, Encoder


@pytest.fixture(scope="module")
def images():
    return torch.stack([image(224, 224), image(224, 224).flip(2)])


def encoder(network, scale):
    return Encoder("vit", network, network.shape.width, (224, 224), lambda _: scale, "clean", "", torch.device("cpu"))


def close(got, expected):
    torch.testing.assert_close(got, torch.tensor(expected), rtol=0, atol=2e-5)


def test_dinov2_gives_its_authors_class_tokens_at_224_pixels(images):
    network = dinov2.network_from(weights(dinov2_shapes(128, 2)))
    got = encoder(network, IMAGENET).encode(images)
    assert got.logits is None
    expected = [
        [0.7299157977104187, 0.6458615660667419, -0.668134331703186],
        [0.29556572437286377, 0.2021678239107132, -0.22363275289535522],
    ]
    close(got.features[:, [0, 50, 127]], expected)


@pytest.mark.parametrize(
    ("patch", "grid", "outputs", "expected"),
    [
        (
            *(32, 7, 64),
            [
                [1.9697946310043335, 0.4237755537033081, 0.3843204975128174],
                [1.3547072410583496, -0.029112331569194794, 1.176276683807373],
            ],
        ),
        (
            *(14, 16, 96),
            [
                [-1.6002757549285889, -0.07932835817337036, 2.617479085922241],
                [-0.615486204624176, -0.07301810383796692, 2.603487491607666],
            ],
        ),
    ],
)
def test_clip_gives_transformers_projected_embeddings(images, patch, grid, outputs, expected):
    network = clip.network_from(weights(clip_shapes(128, 2, patch, grid, outputs)))
    got = encoder(network, clip.SCALE).encode(images).features
    assert got.shape == (2, outputs)
    close(got[:, [0, 30, outputs - 1]], expected)


def test_positions_stay_where_the_number_of_patches_is_the_learnt_one():
    table = weights([("pos_embed", (1, 1 + 37**2, 64))])["pos_embed"][0]
    assert torch.equal(dinov2._positions(table, 37), table)
    constant = dinov2._positions(torch.full((1 + 37**2, 64), 0.3), 16)
    assert constant.shape == (257, 64)
    torch.testing.assert_close(constant, torch.full_like(constant, 0.3))


def test_text_towers_and_mask_tokens_are_passed_over(images):
    state = weights(clip_shapes(128, 1, 32, 7, 64))
    more = {**state, "text_model.final_layer_norm.weight": torch.ones(512), "logit_scale": torch.ones(())}
    a, b = (encoder(clip.network_from(s), clip.SCALE).encode(images).features for s in (state, more))
    assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("family", "name", "shapes", "words"),
    [
        (dinov2.dinov2, "dinov2", dinov2_shapes(128, 1, 2), r"\(1024, 24\), got \(128, 1\)"),
        (clip.clip, "clip-l", clip_shapes(128, 1, 32, 7, 64), r"\(1024, 24, 14\), got \(128, 1, 32\)"),
    ],
)
def test_weights_of_another_size_are_not_measured_under_this_name(tmp_path, family, name, shapes, words):
    path = tmp_path / "small.safetensors"
    save_file({k: v.contiguous() for k, v in weights(shapes).items()}, path)
    with pytest.raises(ValueError, match=words):
        family(name, path)


@pytest.mark.parametrize(
    ("family", "name", "shapes", "table"),
    [
        (dinov2, "dinov2", dinov2_shapes(128, 1, 37), "BLOCKS"),
        (clip, "clip", clip_shapes(128, 1, 32, 7, 64), "TOWERS"),
    ],
)
def test_an_encoder_is_made_from_a_file_without_drawing(tmp_path, monkeypatch, family, name, shapes, table, images):
    path = tmp_path / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in weights(shapes).items()}, path)
    monkeypatch.setitem(getattr(family, table), name, (128, 1) if family is dinov2 else (128, 1, 32))
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    made = getattr(family, "dinov2" if family is dinov2 else "clip")(name, path)
    assert torch.equal(before, torch.random.get_rng_state())
    features = made.encode(images).features
    assert features.shape == (2, made.width)
    assert made.size == (224, 224)


def test_missing_and_misshapen_tensors_are_named():
    state = weights(dinov2_shapes(128, 1, 2))
    with pytest.raises(ValueError, match=r"must have blocks.0.ls2.gamma, got 20 tensors without it; use dinov2_vitl14"):
        dinov2.network_from({k: v for k, v in state.items() if k != "blocks.0.ls2.gamma"})
    with pytest.raises(ValueError, match=r"pos_embed must have 1 \+ n² rows, got 8"):
        dinov2.network_from({**state, "pos_embed": torch.zeros(1, 8, 128)})
    with pytest.raises(
        ValueError, match=r"patch_embedding.weight must have the shape \(any, 3, any, any\), got \(128,\)"
    ):
        clip.network_from({"vision_model.embeddings.patch_embedding.weight": torch.zeros(128)})
    with pytest.raises(ValueError, match="must have cls_token"):
        dinov2.network_from({})
