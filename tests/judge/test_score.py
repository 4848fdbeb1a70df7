"""How answers become an error rate with an interval."""

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from rich.console import Console
from scipy import special

from pushforward.core.seeding import numpy_generator
from pushforward.judge.answers import Answer
from pushforward.judge.score import error_rate, judgement, table, write
from pushforward.judge.trial import Design
from pushforward.metrics.intervals import Z, student, wilson

DESIGN = Design(trials=100, practice=2, seconds=0.5, seed=0, fakes=500, reals=500, fingerprint="")


def answers(rater: str, fakes: str, reals: str, first: int = 0, practice: bool = False) -> list[Answer]:
    """A rater's answers: `x` is a wrong one, anything else a right one; images are numbered from `first`."""
    given = []
    for real, marks in ((False, fakes), (True, reals)):
        for i, mark in enumerate(marks):
            said = real != (mark == "x")
            given.append(Answer(rater, len(given), practice, real, first + i, said, 900.0, 500.0, 1))
    return given


def raters(wrong: np.ndarray, images: np.ndarray) -> list[Answer]:
    """wrong: bool [raters, answers], the first half of the answers on fakes; images: their rows, same shape."""
    half = wrong.shape[1] // 2
    return [
        Answer(f"r{r}", i, False, i >= half, int(images[r, i]), (i >= half) != bool(wrong[r, i]), 900.0, 500.0, 1)
        for r in range(len(wrong))
        for i in range(wrong.shape[1])
    ]


def test_one_raters_interval_is_wilsons():
    got, known = error_rate(answers("Ann", "x" * 12 + "." * 38, "x" * 8 + "." * 42)), wilson(20, 100)
    assert (got.value, got.stderr, got.low, got.high) == pytest.approx(
        (known.value, known.stderr, known.low, known.high), abs=1e-14
    )


@pytest.mark.parametrize(("mark", "value"), [("x", 1.0), (".", 0.0)])
@pytest.mark.parametrize("people", [1, 2, 7])
def test_all_wrong_or_all_right_leaves_an_interval_that_still_says_something(mark, value, people):
    given = [a for i in range(people) for a in answers(f"r{i}", mark * 15, mark * 15, first=15 * i)]
    got, known = error_rate(given), wilson(round(value) * 30 * people, 30 * people)
    assert (got.value, got.low, got.high) == pytest.approx((value, known.low, known.high), abs=1e-12)
    assert (got.high == 1.0) == (value == 1)
    assert (got.low == 0.0) == (value == 0)


def test_one_who_always_says_real_errs_at_half_however_many_of_each_kind_came():
    got = error_rate(answers("Ann", "x" * 31, "." * 19))
    assert got.value == pytest.approx(0.5, abs=1e-15)


def test_raters_weigh_the_same_however_many_answers_they_gave():
    given = answers("Ann", "x" * 10, "x" * 10) + answers("Bob", "." * 50, "." * 50, first=100)
    assert error_rate(given).value == pytest.approx(0.5, abs=1e-15)


def test_with_an_image_seen_once_the_variance_is_that_of_the_raters_rates():
    rates = np.array([0.1, 0.3, 0.2, 0.6, 0.4])
    wrong = np.zeros((5, 100), bool)
    for r, share in enumerate(rates):
        wrong[r, : round(50 * share)] = wrong[r, 50 : 50 + round(50 * share)] = True
    images = np.arange(500).reshape(5, 100)
    got, p = error_rate(raters(wrong, images)), rates.mean()
    variance = rates.var(ddof=1) / 5
    n = p * (1 - p) / variance * (Z / student(4)) ** 2
    middle, half = p + Z**2 / (2 * n), Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n * n))
    assert n < 500
    assert got.value == pytest.approx(p, abs=1e-12)
    assert (got.low, got.high) == pytest.approx(
        ((middle - half) / (1 + Z**2 / n), (middle + half) / (1 + Z**2 / n)), abs=1e-9
    )
    assert got.stderr == pytest.approx(math.sqrt(variance) * student(4) / Z, abs=1e-9)


def test_the_variance_over_raters_and_images_is_the_sum_over_pairs_that_share_one():
    """Pairs of answers by one rater, with R/(R - 1), and pairs by two raters on one image."""
    rng = numpy_generator("judge test", 0)
    images = np.stack([rng.permutation(12)[:8] for _ in range(12)])
    hard = rng.random(12) < 0.5
    wrong = hard[images] ^ (rng.random(images.shape) < 0.1)
    given = raters(wrong, images)
    for kind in (False, True):
        part = [a for a in given if a.real == kind]
        n, p = len(part), np.mean([a.wrong for a in part])
        e = [(a.wrong - p) / n for a in part]
        pairs = [(a, b, x * y) for a, x in zip(part, e, strict=True) for b, y in zip(part, e, strict=True)]
        same_rater = sum(xy for a, b, xy in pairs if a.rater == b.rater) * 12 / 11
        same_image = sum(xy for a, b, xy in pairs if a.image == b.image and a.rater != b.rater)
        assert same_image > 0.2 * same_rater  # or the test would not see it
        spread = p * (1 - p) * (Z / student(11)) ** 2
        got = error_rate(part)
        assert got.stderr == pytest.approx(
            math.sqrt(max((same_rater + same_image) * (student(11) / Z) ** 2, p * (1 - p) / n)), rel=1e-9
        )
        assert (same_rater + same_image) * n > spread


def test_a_fake_and_a_real_of_the_same_number_are_two_images():
    given = [a for i in range(6) for a in answers(f"r{i}", "xxxxx.....", "xxxxx.....")]
    apart = [dataclasses.replace(a, image=a.image + 100 * a.real) for a in given]
    one = [dataclasses.replace(a, real=False, said_real=a.wrong) for a in given]
    assert error_rate(given) == error_rate(apart)
    assert error_rate(given).stderr < 0.9 * error_rate(one).stderr


def test_people_who_differ_widen_the_interval_and_people_alike_don_t_narrow_it():
    wrong = np.zeros((8, 40), bool)
    wrong[:4] = True
    images = np.arange(320).reshape(8, 40)
    split = error_rate(raters(wrong, images))
    assert split.value == pytest.approx(0.5, abs=1e-15)
    assert split.high - split.low > 0.5
    same = np.zeros((8, 40), bool)
    same[:, ::2] = True
    alike, pooled = error_rate(raters(same, images)), wilson(160, 320)
    assert (alike.low, alike.high) == pytest.approx((pooled.low, pooled.high), abs=1e-12)


@pytest.mark.parametrize(
    ("people", "pool", "between", "among", "p"),
    [
        (2, 1000, 0.1, 0.0, 0.2),
        (3, 1000, 0.1, 0.0, 0.5),
        (5, 1000, 0.1, 0.5, 0.2),
        (10, 1000, 0.5, 0.0, 0.5),
        (10, 60, 0.0, 0.5, 0.5),
        (10, 60, 0.1, 0.5, 0.2),
        (10, 60, 0.1, 0.5, 0.03),
    ],
)
def test_the_interval_holds_the_truth_where_raters_and_images_differ(people, pool, between, among, p):
    """Probit: an answer is wrong when a normal with effects of rater and image is below a threshold."""
    rng = numpy_generator("judge coverage", people, pool, round(100 * between), round(100 * p))
    threshold, held, naive, times = special.ndtri(p) * math.sqrt(1 + between + among), 0, 0, 200
    for _ in range(times):
        images = np.stack([rng.permutation(pool)[:50] for _ in range(people)])
        effects = math.sqrt(between) * rng.normal(size=(people, 1)) + (math.sqrt(among) * rng.normal(size=pool))[images]
        wrong = rng.normal(size=(people, 50)) + effects < threshold
        given = [
            Answer(f"r{r}", i, False, False, int(images[r, i]), bool(wrong[r, i]), 1.0, 1.0, 1)
            for r in range(people)
            for i in range(50)
        ]
        got, pooled = error_rate(given), wilson(int(wrong.sum()), wrong.size)
        held += got.low <= p <= got.high
        naive += pooled.low <= p <= pooled.high
    assert 0.91 <= held / times <= 1.0
    assert naive / times <= held / times - 0.02  # pooled as if independent, it holds the truth less often


def test_the_interval_shrinks_as_raters_come():
    rng = numpy_generator("judge test", 1)
    widths = []
    for people in (5, 20, 80):
        wrong = rng.random((people, 100)) < rng.beta(4, 8, size=(people, 1))
        got = error_rate(raters(wrong, np.arange(people * 100).reshape(people, 100)))
        widths.append(got.high - got.low)
    assert widths[0] > 1.5 * widths[1] > 2.25 * widths[2]


def test_an_error_rate_of_nothing_or_of_unlike_raters_is_refused():
    with pytest.raises(ValueError, match="got none"):
        error_rate([])
    with pytest.raises(ValueError, match="got one kind only"):
        error_rate(answers("Ann", "x.", "x.") + answers("Bob", "x.", ""))


def test_practice_is_not_scored():
    given = answers("Ann", "." * 50, "." * 50)
    assert judgement(given + answers("Ann", "x", "x", practice=True), DESIGN) == judgement(given, DESIGN)


def test_rates_on_fakes_and_reals_are_apart():
    result = judgement(answers("Ann", "x" * 40 + "." * 10, "x" * 5 + "." * 45), DESIGN)
    assert result.error is not None
    assert result.on_fakes is not None
    assert result.on_reals is not None
    assert (result.error.value, result.on_fakes.value, result.on_reals.value) == pytest.approx((0.45, 0.8, 0.1))
    assert result.on_fakes.low == pytest.approx(wilson(40, 50).low, abs=1e-12)


def test_who_stopped_before_ten_of_each_kind_is_listed_and_not_counted():
    given = answers("Ann", "." * 50, "." * 50) + answers("Bob", "x" * 10, "x" * 9, first=60)
    result = judgement(given, DESIGN)
    assert [(r.rater, r.answered, r.finished, r.counts) for r in result.raters] == [
        ("Ann", 100, True, True),
        ("Bob", 19, False, False),
    ]
    assert result.answers == 100
    assert result.error is not None
    assert result.error.value == 0.0
    more = judgement([*given, *answers("Bob", "", "x", first=99)], DESIGN)
    assert more.error is not None
    assert more.error.value == pytest.approx(0.5)


def test_a_short_test_that_is_finished_counts_and_concludes_nothing():
    short = Design(trials=4, practice=0, seconds=0, seed=0, fakes=9, reals=9, fingerprint="")
    result = judgement(answers("Ann", "..", ".."), short)
    assert result.error is not None
    assert (result.error.value, result.verdict) == (0.0, "inconclusive")
    assert "10 answers on each kind of image are needed, got 2 that count" in result.sentence


@pytest.mark.parametrize(
    ("people", "wrong", "verdict", "words"),
    [
        (1, 10, "told apart", "one person (no word on others)"),
        (6, 10, "told apart", "6 people"),
        (6, 25, "not told apart", "within 10 % of guessing"),
        (6, 40, "taken for real", "more than reals do"),
        (1, 24, "inconclusive", "by one person"),
    ],
)
def test_the_verdict_is_what_the_interval_allows(people, wrong, verdict, words):
    fakes, marks = ("x" * wrong + "." * (50 - wrong)), ("x" * wrong + "." * (50 - wrong))
    result = judgement([a for i in range(people) for a in answers(f"r{i}", fakes, marks, first=50 * i)], DESIGN)
    assert (result.verdict, words in result.sentence) == (verdict, True)


def test_nobody_s_answers_are_no_error_rate_but_a_judgement():
    result = judgement([], DESIGN)
    assert (result.error, result.verdict, result.raters) == (None, "inconclusive", ())


def test_the_file_holds_the_numbers_the_raters_and_the_design(tmp_path):
    result = judgement(answers("Ann", "x" * 10 + "." * 40, "." * 50), DESIGN)
    path = write(result, DESIGN, tmp_path / "judgement.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    assert result.error is not None
    assert found["error"] == pytest.approx(vars(result.error))
    assert found["raters"][0]["rater"] == "Ann"
    assert found["design"]["seconds"] == 0.5
    assert found["verdict"] == "told apart"
    assert [p.name for p in tmp_path.iterdir()] == ["judgement.json"]


def test_the_table_has_all_raters_and_takes_no_name_for_markup():
    given = answers("[bold]Ann[/bold]", "x" * 10 + "." * 40, "." * 50) + answers("Bob", "x", ".", first=70)
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table(judgement(given, DESIGN)))
    text = console.export_text()
    assert "[bold]Ann[/bold]" in text
    assert "Bob (too few, not counted)" in text
    assert "all (1)" in text
    assert "10 %" in text
    assert "20 %" in text
