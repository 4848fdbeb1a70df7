import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from torch import Tensor

from pushforward.layers import filters
from pushforward.layers.filters import Resample, blur, downsample, upsample


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_scipy(x: Tensor, taps: tuple[float, ...], pad: tuple[int, int], up: int = 1, down: int = 1) -> Tensor:
    """Zeros between, zeros around, SciPy's convolution, every `down`-th number: one map at a time."""
    line = np.array(taps) / sum(taps) * up
    found = []
    for image in x.flatten(0, 1).numpy():
        spread = np.zeros([n * up for n in image.shape])
        spread[::up, ::up] = image
        found.append(convolve2d(np.pad(spread, pad), np.outer(line, line), mode="valid")[::down, ::down])
    return torch.from_numpy(np.stack(found)).unflatten(0, x.shape[:2])


TAPS = [(1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 1.0), (1.0, 2.0, 4.0, 0.5), (1.0, 1.0)]
# The padding of upfirdn2d.py in NVlabs/stylegan2-ada-pytorch, for K taps: filter2d (K//2, (K-1)//2),
# upsample2d ((K+1)//2, (K-2)//2), downsample2d ((K-1)//2, (K-2)//2).
CASES = [
    (blur, 1, 1, lambda k: (k // 2, (k - 1) // 2)),
    (upsample, 2, 1, lambda k: ((k + 1) // 2, (k - 2) // 2)),
    (downsample, 1, 2, lambda k: ((k - 1) // 2, (k - 2) // 2)),
]


@pytest.mark.parametrize("dense", [0, 1000], ids=["convolution", "matrix"])
@pytest.mark.parametrize("taps", TAPS, ids=str)
@pytest.mark.parametrize(("function", "up", "down", "pad"), CASES)
def test_filters_are_scipys_convolutions_with_the_authors_padding(function, up, down, pad, taps, dense, monkeypatch):
    monkeypatch.setattr(filters, "DENSE", dense)
    x = rows(2, 3, 8, 6)
    found = function(x, taps)
    assert found.shape == (2, 3, 8 * up // down, 6 * up // down)
    torch.testing.assert_close(found, by_scipy(x, taps, pad(len(taps)), up, down), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dense", [0, 1000], ids=["convolution", "matrix"])
@pytest.mark.parametrize("pad", [(2, 2), (1, 1), (0, 0), (3, 1)])
def test_a_blur_has_the_padding_it_is_given(pad, dense, monkeypatch):
    monkeypatch.setattr(filters, "DENSE", dense)
    x, taps = rows(1, 2, 7, 7), (1.0, 2.0, 4.0, 0.5)
    torch.testing.assert_close(blur(x, taps, pad), by_scipy(x, taps, pad), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("function", "up", "down", "pad"), CASES)
@pytest.mark.parametrize("taps", [TAPS[0], TAPS[2]], ids=str)
def test_the_convolution_is_differentiable_as_often_as_one_likes(function, up, down, pad, taps, monkeypatch):
    monkeypatch.setattr(filters, "DENSE", 0)
    x = rows(1, 2, 6, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: function(x, taps), x)
    assert torch.autograd.gradgradcheck(lambda x: function(x, taps), x)


@pytest.mark.parametrize("function", [blur, upsample, downsample])
def test_constants_are_kept_inside(function):
    y = function(torch.full((1, 2, 8, 8), 3.0))
    torch.testing.assert_close(y[..., 2:-2, 2:-2], torch.full_like(y[..., 2:-2, 2:-2], 3.0))
    assert (y[..., 0, :] < 2.9).all()  # zeros outside


@pytest.mark.parametrize(("up", "function"), [(True, upsample), (False, downsample)])
def test_the_module_is_the_function_with_a_matrix_made_once(up, function):
    x = rows(2, 3, 8, 8).float()
    resample = Resample(8, up)
    assert torch.equal(resample(x), function(x))
    assert not resample.state_dict()


def test_large_maps_are_convolved_and_small_ones_multiplied_by_a_matrix():
    x = torch.zeros(1, 1, filters.DENSE, filters.DENSE, requires_grad=True)
    assert "Filter" not in type(blur(x).grad_fn).__name__
    assert "Filter" in type(upsample(x).grad_fn).__name__
