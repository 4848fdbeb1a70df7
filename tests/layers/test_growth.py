from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from pushforward.layers.growth import Growth, Stage, enlarged, shrunk, stage_at


def test_images_are_shrunk_by_means_and_enlarged_by_repetition():
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(shrunk(x, 2), F.avg_pool2d(x, 4))
    assert torch.equal(enlarged(x, 2), x.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert torch.equal(shrunk(enlarged(x, 1), 1), x)
    assert shrunk(x, 0) is x
    assert enlarged(x, 0) is x


def test_growth_alternates_between_settling_and_fading_in():
    # Appendix A.1: 4×4 until 800k images, then 800k to fade in and 800k to settle, for each level.
    at = [stage_at(seen * 100_000, 8, 800_000) for seen in range(0, 200, 4)]
    assert at[:6] == [Stage(0), Stage(0), Stage(1, 0.0), Stage(1, 0.5), Stage(1), Stage(1)]
    assert at[6:9] == [Stage(2, 0.0), Stage(2, 0.5), Stage(2)]
    assert at[31] == Stage(8, 0.5)
    assert at[32:] == [Stage(8)] * 18
    heights = [s.level - 1 + s.alpha for s in at]
    assert all(low <= high for low, high in pairwise(heights))
    assert stage_at(5, 0, 1) == Stage(0)
    with pytest.raises(ValueError, match="1 or more examples, got 0"):
        stage_at(0, 1, 0)


@pytest.mark.parametrize("stage", [Stage(3), Stage(-1), Stage(0, 0.5), Stage(1, 1.5), Stage(1, -0.5)])
def test_a_stage_that_a_network_can_not_have_is_refused(stage):
    with pytest.raises(ValueError, match="a network of 2 levels can't stand at"):
        Growth(2).set(stage)


def test_a_full_grown_network_limits_nothing_and_others_keep_means() -> None:
    growth, x = Growth(2), torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert growth.limited(x) is x
    for stage in (Stage(0), Stage(1, 0.5), Stage(1), Stage(2, 0.5)):
        growth.set(stage)
        limited = growth.limited(x)
        assert limited.shape == x.shape
        torch.testing.assert_close(shrunk(limited, 2), shrunk(x, 2), rtol=1e-4, atol=1e-5)
        assert limited.std() < 0.9 * x.std()
