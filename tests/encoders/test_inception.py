"""Values at the end of each test are other programs', at the weights and images of `by_formula`.

torch-fidelity 0.4.0 made those of `legacy-tf`, pytorch-fid 0.3.0 those of `legacy-pytorch`, clean-fid 0.1.35's resize
with torch-fidelity's network those of `clean`; all on torch 2.13.0, Pillow 13.0.0, NumPy 2.4.6.
"""

import pytest
import torch
from by_formula import image, inception_shapes, weights

from pushforward.encoders.encoder import Encoder
from pushforward.encoders.inception import inception, network_from, scale_of
from pushforward.encoders.weights import digest_of

SOME, CLASSES = [0, 500, 1000, 1500, 2047], [0, 250, 500, 750, 1007]


@pytest.fixture(scope="module")
def state():
    return weights(inception_shapes())


@pytest.fixture(scope="module")
def network(state):
    return network_from(state)


@pytest.fixture(scope="module")
def encoder(network):
    return Encoder("inception", network, 2048, (299, 299), scale_of, "legacy-tf", "0" * 64, torch.device("cpu"))


def close(got, expected):
    torch.testing.assert_close(got.flatten(), torch.tensor(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("size", "features", "mean", "logits"),
    [
        (
            (32, 32),
            [2.4856274127960205, 0.3950781524181366, 0.0, 0.15859782695770264, 0.4475304186344147],
            0.2443554848432541,
            [0.23283575475215912, 0.025307416915893555, -1.1439151763916016, 0.7298243045806885, -1.3063287734985352],
        ),
        (
            (64, 40),
            [2.5310964584350586, 0.3986327648162842, 2.044735083472915e-06, 0.1559821218252182, 0.45755213499069214],
            0.24772363901138306,
            [0.24397434294223785, 0.03001856803894043, -1.1709895133972168, 0.739200234413147, -1.3047881126403809],
        ),
    ],
)
def test_legacy_tf_gives_torch_fidelitys_features_and_logits_without_bias(encoder, size, features, mean, logits):
    got = encoder.encode(image(*size)[None])
    assert got.features.shape == (1, 2048)
    assert got.logits.shape == (1, 1008)
    close(got.features[0, SOME], features)
    close(got.features.mean(), [mean])
    close(got.logits[0, CLASSES], logits)


def test_legacy_pytorch_gives_pytorch_fids_features(encoder):
    got = encoder.with_resize("legacy-pytorch").encode(image(64, 40)[None]).features
    expected = [2.5353715419769287, 0.3984934985637665, 0.00014935525541659445, 0.15789222717285156, 0.459127277135849]
    close(got[0, SOME], expected)
    close(got.mean(), [0.24786609411239624])


def test_clean_gives_the_features_of_clean_fids_pixels(encoder):
    got = encoder.with_resize("clean").encode(image(64, 40)[None]).features
    close(got[0, SOME], [2.6223769187927246, 0.4007572531700134, 0.0, 0.1676914542913437, 0.4901188611984253])


def test_an_images_features_do_not_depend_on_its_batch(encoder):
    images = [image(32, 32), image(48, 30), image(64, 40)]
    together, alone = encoder.encode(images), encoder.encode(images, batch=2)
    torch.testing.assert_close(together.features, alone.features, rtol=0, atol=1e-5)
    torch.testing.assert_close(together.logits, alone.logits, rtol=0, atol=1e-5)


def test_it_is_read_from_a_file_and_nothing_of_torchs_global_state_moves(tmp_path, state, encoder):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    made = inception(path)
    assert torch.equal(before, torch.random.get_rng_state())
    assert made.weights == digest_of(path)
    assert (made.width, made.size, made.resize) == (2048, (299, 299), "clean")
    assert not any(p.requires_grad for p in made.network.parameters())
    tensors, again = encoder.network.state_dict(), made.network.state_dict()
    assert all(torch.equal(tensors[k], again[k]) for k in tensors)


def test_weights_of_another_inception_are_refused_by_the_tensor_that_tells(state):
    with pytest.raises(
        ValueError, match=r"fc.weight must have the shape \(1008, 2048\), got \(1000, 2048\); use pt_in"
    ):
        network_from({**state, "fc.weight": torch.zeros(1000, 2048)})
    without = {k: v for k, v in state.items() if k != "Mixed_7c.branch_pool.bn.running_var"}
    with pytest.raises(ValueError, match=r"must have Mixed_7c.branch_pool.bn.running_var, got 471 tensors without it"):
        network_from(without)
