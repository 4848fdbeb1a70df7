import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pushforward.core.seeding import numpy_generator, seed_global, seed_of, torch_generator, torch_seeded

keys = st.lists(st.integers(0, 3) | st.integers(2**32 - 2, 2**33) | st.text(max_size=3), max_size=4).map(tuple)


@given(keys, keys)
def test_different_keys_give_different_seeds_and_equal_ones_the_same(a, b):
    assert (seed_of(*a) == seed_of(*b)) == (a == b)


def test_a_trailing_zero_counts():
    seeds = [seed_of("draws", *rest) for rest in ((), (0,), (0, 0), (0, 0, 0))]
    assert len(set(seeds)) == 4


def test_words_are_no_numbers_and_do_not_run_together():
    assert len({seed_of("a", "b"), seed_of("ab"), seed_of("a', 'b"), seed_of("1"), seed_of(1), seed_of("1,")}) == 6


def test_seeds_fit_every_generator_and_are_the_same_in_every_process():
    seeds = [seed_of("x", i) for i in range(200)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    assert seed_of("draws", 0, 0) == 1768574622573305083
    assert seed_of("x", np.int64(7)) == seed_of("x", 7)


def test_streams_of_different_keys_are_uncorrelated():
    draws = [torch.randn(4000, generator=torch_generator("a", i)) for i in range(4)]
    draws.append(torch.from_numpy(numpy_generator("a", 0).standard_normal(4000)).float())
    for a, b in itertools.combinations(draws, 2):
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1].item()) < 0.07  # 4.4 standard errors


def test_the_global_generator_is_as_before_outside():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with torch_seeded("inside"):
        a = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with torch_seeded("inside"):
        assert torch.equal(torch.rand(3), a)
    with pytest.raises(KeyError), torch_seeded("inside"):
        raise KeyError


def test_seeding_globally_is_what_torch_does_for_the_cpu():
    torch.manual_seed(11)
    expected = torch.rand(3)
    seed_global(11, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)
