"""What a rater is shown."""

import math
from collections import Counter

import pytest

from pushforward.judge.trial import Design


def design(**changes) -> Design:
    values = {
        "trials": 100,
        "practice": 4,
        "seconds": 0.5,
        "seed": 0,
        "fakes": 200,
        "reals": 300,
        "fingerprint": "0" * 32,
    }
    return Design(**(values | changes))


def test_a_session_is_half_real_in_practice_and_in_what_counts():
    plan = design().plan("Ann")
    assert [t.index for t in plan] == list(range(104))
    assert [t.practice for t in plan] == [True] * 4 + [False] * 100
    assert sum(t.real for t in plan[:4]) == 2
    assert sum(t.real for t in plan[4:]) == 50


def test_no_image_comes_twice_even_where_all_are_needed():
    plan = design(fakes=52, reals=52).plan("Ann")
    assert sorted((t.real, t.image) for t in plan) == [(real, i) for real in (False, True) for i in range(52)]


def test_the_plan_depends_on_the_seed_and_the_name_and_on_nothing_else():
    assert design().plan("Ann") == design(seconds=3.0, fingerprint="1").plan("Ann")
    assert len({design().plan("Ann"), design().plan("Bob"), design(seed=1).plan("Ann")}) == 3


def test_any_place_is_real_in_half_of_the_sessions_and_tells_nothing_of_the_next():
    plans = [design(trials=10, practice=0).plan(f"rater {i}") for i in range(2000)]
    within = 5 * math.sqrt(0.25 / 2000)
    for place in range(10):
        assert sum(p[place].real for p in plans) / 2000 == pytest.approx(0.5, abs=within)
    # One permutation of 5 and 5: the next is of the same kind in 4 of 9. Strict turns would give 0, coins 1/2.
    same = sum(p[i].real == p[i + 1].real for p in plans for i in range(9)) / 18000
    assert same == pytest.approx(4 / 9, abs=0.02)


def test_all_images_are_drawn_alike():
    seen = Counter(t.image for i in range(1000) for t in design(fakes=10, reals=10, trials=8).plan(str(i)) if t.real)
    assert set(seen) == set(range(10))
    assert max(seen.values()) - min(seen.values()) < 150  # 600 each, six standard deviations between the extremes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": 7}, "trials is 7, must be even and at least 2"),
        ({"trials": 0}, "trials is 0"),
        ({"practice": 3}, "practice is 3, must be even"),
        ({"practice": -2}, "practice is -2"),
        ({"seconds": -1.0}, "seconds is -1.0, must be between 0 and 60"),
        ({"seconds": math.nan}, "seconds is nan"),
        ({"seconds": 61.0}, "seconds is 61.0"),
        ({"fakes": 51}, "got 51 generated and 300 real images, 52 of each are needed"),
        ({"reals": 10}, "got 200 generated and 10 real"),
    ],
)
def test_a_design_that_is_no_test_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        design(**changes)
