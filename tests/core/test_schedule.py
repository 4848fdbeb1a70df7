import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushforward.core.schedule import cosine, held, linear


@pytest.mark.parametrize("schedule", [cosine, linear])
def test_schedules_meet_both_ends_and_the_middle_and_stay_at_the_end(schedule):
    at = schedule(3.0, 1.0, 1000)
    assert [at(0), at(500), at(1000), at(10**9)] == pytest.approx([3, 2, 1, 1], abs=1e-12)


def test_a_third_of_the_way_is_a_quarter_down_the_cosine_and_a_third_down_the_line():
    assert cosine(1.0, 0.0, 300)(100) == pytest.approx(0.75, abs=1e-12)
    assert linear(1.0, 0.0, 300)(100) == pytest.approx(2 / 3, abs=1e-12)


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_schedules_are_monotone(a, b):
    a, b = sorted((a, b))
    for schedule in (cosine(2.0, 0.5, 1000), linear(2.0, 0.5, 1000)):
        assert schedule(a) >= schedule(b) - 1e-12


@pytest.mark.parametrize("schedule", [cosine, linear])
def test_a_schedule_needs_a_length(schedule):
    with pytest.raises(ValueError, match="positive length, got 0 examples"):
        schedule(1, 0, 0)


def test_held_rates_fall_in_a_straight_line_after_their_share_of_the_run():
    at = held(0.75, 1000)
    assert [at(seen) for seen in (0, 750, 875, 1000, 2000)] == pytest.approx([1, 1, 0.5, 0, 0])
    assert [held(1.0, 1000)(seen) for seen in (0, 999, 2000)] == [1, 1, 1]
    assert held(0.0, 1000)(500) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"share of a run .* in \[0, 1\], got 1.5"):
        held(1.5, 1000)
