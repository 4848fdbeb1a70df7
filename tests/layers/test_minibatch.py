import numpy as np
import pytest
import torch
from torch import Tensor

from pushforward.layers.minibatch import minibatch_std


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def by_loops(x: np.ndarray, size: int, features: int) -> np.ndarray:
    """The added maps, group by group and part by part."""
    batch, channels, height, width = x.shape
    found = np.zeros((batch, features, height, width))
    part = channels // features
    for start in range(0, batch, size):
        for f in range(features):
            block = x[start : start + size, f * part : (f + 1) * part]
            deviations = [np.std(block[:, c, i, j]) for c in range(part) for i in range(height) for j in range(width)]
            found[start : start + size, f] = np.mean(deviations)
    return found


@pytest.mark.parametrize(
    ("batch", "group", "size"), [(8, 4, 4), (4, 4, 4), (3, 4, 3), (6, 4, 3), (10, 4, 2), (7, 4, 1), (12, 32, 12)]
)
@pytest.mark.parametrize("features", [1, 2])
def test_the_maps_are_the_mean_deviation_in_groups_of_the_largest_divisor(batch, group, size, features):
    x = rows(batch, 4, 3, 2)
    y = minibatch_std(x, group, features)
    assert y.shape == (batch, 4 + features, 3, 2)
    assert torch.equal(y[:, :4], x)
    expected = torch.from_numpy(by_loops(x.numpy(), size, features)).float()
    torch.testing.assert_close(y[:, 4:], expected, rtol=1e-4, atol=2e-4)  # + 1e-8 under the root


def test_the_order_within_groups_and_that_of_groups_does_not_matter():
    x = rows(8, 4, 2, 2)
    y = minibatch_std(x, 4)
    order = torch.tensor([6, 5, 4, 7, 2, 0, 3, 1])  # the groups swapped, each in another order
    torch.testing.assert_close(minibatch_std(x[order], 4), y[order])
    across = torch.tensor([4, 1, 2, 3, 0, 5, 6, 7])
    assert (minibatch_std(x[across], 4) - y[across]).abs().max() > 0.01


def test_micro_batches_of_whole_groups_see_what_the_batch_does():
    x = rows(12, 4, 2, 2)
    parts = [minibatch_std(part, 4) for part in x.split(4)]
    assert torch.equal(torch.cat(parts), minibatch_std(x, 4))


def test_examples_that_are_the_same_have_no_deviation_and_a_finite_gradient():
    x = rows(1, 4, 2, 2).repeat(4, 1, 1, 1).requires_grad_()
    y = minibatch_std(x)
    assert y[:, 4].max().item() == pytest.approx(1e-4, rel=1e-3)
    y.sum().backward()
    assert x.grad.isfinite().all()


def test_the_type_of_the_maps_is_kept_and_the_deviation_taken_in_float32():
    x = (100 + rows(4, 8, 2, 2)).bfloat16()
    y = minibatch_std(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), minibatch_std(x.float()), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(("group", "features"), [(0, 1), (4, 3)])
def test_groups_of_nothing_and_parts_that_do_not_fit_are_refused(group, features):
    with pytest.raises(ValueError, match="the paper has group=4, features=1"):
        minibatch_std(rows(4, 4, 2, 2), group, features)
