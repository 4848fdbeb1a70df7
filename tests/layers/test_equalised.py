import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pushforward.layers.equalised import EqualConv2d, EqualLinear, pixel_norm


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("gain", [1.0, math.sqrt(2)])
@pytest.mark.parametrize("lr_mul", [1.0, 0.01])
def test_a_linear_layer_is_the_plain_one_with_hes_weights_whatever_its_rate(gain, lr_mul):
    torch.manual_seed(0)
    layer, x = EqualLinear(300, 200, gain=gain, lr_mul=lr_mul, bias_start=0.5), rows(5, 300)
    assert layer.weight.std().item() == pytest.approx(1 / lr_mul, rel=0.02)
    weight = layer.weight * lr_mul * gain / math.sqrt(300)
    assert weight.std().item() == pytest.approx(gain / math.sqrt(300), rel=0.02)
    torch.testing.assert_close(layer(x), x @ weight.T + 0.5, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer(x, gain=3.0), 3 * layer(x), rtol=1e-4, atol=1e-4)


def test_the_rates_multiplier_scales_what_a_step_of_a_weight_or_a_bias_does():
    layer, x = EqualLinear(4, 3, lr_mul=0.01), rows(2, 4)
    before = layer(x)
    with torch.no_grad():
        layer.weight += 1.0
        layer.bias += 1.0
    step = 0.01 * (x.sum(1, keepdim=True) / math.sqrt(4) + 1)
    torch.testing.assert_close(layer(x) - before, step.expand(2, 3), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(1, 1, None), (3, 1, None), (3, 2, 0)])
def test_a_convolution_is_the_plain_one_with_weights_scaled_by_the_fan_in(kernel, stride, padding):
    torch.manual_seed(0)
    layer, x = EqualConv2d(8, 60, kernel, gain=2.0), rows(2, 8, 7, 7)
    with torch.no_grad():
        layer.bias.normal_()
    assert layer.weight.std().item() == pytest.approx(1, rel=0.1)
    weight = layer.weight * 2 / math.sqrt(8 * kernel**2)
    expected = F.conv2d(x, weight, layer.bias, stride, kernel // 2 if padding is None else padding)
    torch.testing.assert_close(layer(x, stride=stride, padding=padding), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(layer(x, 3.0, stride, padding), 3 * expected, rtol=1e-4, atol=1e-5)
    assert EqualConv2d(8, 4, kernel, bias=False).bias is None


def test_adams_first_step_changes_outputs_alike_whatever_the_fan_in_where_stock_layers_differ():
    changes = {}
    for fan_in in (16, 1024):
        for name, layer in (("equalised", EqualLinear(fan_in, 8)), ("stock", torch.nn.Linear(fan_in, 8))):
            x = torch.ones(1, fan_in)
            before = layer(x).detach()
            optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
            layer(x).sum().backward()
            optimizer.step()
            changes[name, fan_in] = (before - layer(x).detach()).mean().item() / math.sqrt(fan_in)
    assert changes["equalised", 16] == pytest.approx(changes["equalised", 1024], rel=0.3)
    assert changes["stock", 1024] > 5 * changes["stock", 16]


def test_pixel_norm_gives_each_place_a_root_mean_square_of_one():
    x = 5 * rows(2, 16, 3, 3)
    y = pixel_norm(x)
    torch.testing.assert_close(y.square().mean(1), torch.ones(2, 3, 3))
    torch.testing.assert_close(y, x / x.square().mean(1, keepdim=True).sqrt())
    torch.testing.assert_close(pixel_norm(x, dim=2).square().mean(2), torch.ones(2, 16, 3))
    assert not pixel_norm(torch.zeros(2, 4)).any()
