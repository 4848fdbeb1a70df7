"""The table, the JSON and the page, from run folders that are written by hand."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pushforward.compare.page import render
from pushforward.compare.picture import picture, samples
from pushforward.compare.plan import Comparison, Entry, Machine, short_names
from pushforward.compare.record import write_record
from pushforward.compare.results import as_json, collect, interval, markdown, part, run_folder, si
from pushforward.compare.speed import Phase, Probe, write_probe

FLOOR = 2.0


def comparison(*labels: str, seeds: int = 3) -> Comparison:
    entries = tuple(
        Entry(label.split()[0], tuple(label.split()[1:]), {"examples": 900, "batch": 10}) for label in labels
    )
    machine = Machine("a processor (cpu)", 2, 1)
    command = "pushforward compare …"
    return Comparison(entries, "digits", "f", machine, 60.0, None, seeds, evaluations=2, command=command)


def measured(value: float, floor: float | None = FLOOR) -> dict[str, float | None]:
    return {"value": value, "low": value - 0.5, "high": value + 0.5, "floor": floor, "n": 100}


def leave(plan: Comparison, folder: Path, label: str, seed: int, frechet: float, *, points: bool = False) -> Path:
    """A finished run: 400 and 800 examples seen after 20 and 50 seconds."""
    entry = next(entry for entry in plan.entries if entry.label == label)
    write_probe(
        Probe(800, (Phase(0.5, 100.0, 0.01), Phase(1.0, 300.0, 0.02)), 4.0), folder / f"probes/{entry.slug}.json"
    )
    run = run_folder(folder, entry, seed)
    run.mkdir(parents=True)
    stats = [{"seen": 400, "round": 40, "seconds": 20.0}, {"seen": 800, "round": 80, "seconds": 50.0}]
    (run / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in stats))
    metrics = {"frechet": measured(frechet), "precision": measured(0.5, 0.9), "frechet_pixels": measured(9.0)}
    rows = [(400, True, 2 * frechet), (800, True, frechet), (800, False, frechet)]
    lines = [{"seen": n, "quick": q, "metrics": {**metrics, "frechet": measured(v)}} for n, q, v in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 2)) if points else np.full((64, 8, 8, 1), int(10 * frechet), np.uint8)
    np.savez(run / "exhibits.npz", fake=x, real=np.zeros_like(x))
    return run


def test_rows_stand_from_the_best_to_the_worst_and_without_a_finished_run_last(tmp_path: Path) -> None:
    plan = comparison("a", "b", "c")
    for seed in range(3):
        leave(plan, tmp_path, "a", seed, 8.0 + seed)
        leave(plan, tmp_path, "c", seed, 4.0 + seed)
    (tmp_path / "probes" / "b.failed").write_text(
        json.dumps({"reason": "b does not make images; nor more", "status": 2})
    )
    results = collect(plan, tmp_path)
    assert [row.entry.label for row in results.rows] == ["c", "a", "b"]
    assert results.main == "frechet"
    assert results.rows[2].reason == "seed 0: b does not make images"
    lines = markdown(results).splitlines()
    # t of two degrees of freedom: 4.3027, times the standard error 1/√3, for a mean of 5 and of 2.5 floors.
    assert lines[0] == (
        "| recipe | Fréchet ÷ floor | Fréchet (pixels) ÷ floor | Fréchet | precision | examples | a second | FLOPs | "
        "minutes | seeds |"
    )
    assert lines[2] == "| real data | 1 | 1 | 2 | 0.9 |  |  |  |  |  |"
    assert lines[3] == "| `c` | 2.5 (1.26–3.74) | 4.5 | 5 (2.52–7.48) | 0.5 | 800 | 16 | 160 k | 0.833 | 3 |"
    assert lines[5] == "| `b` |  |  |  |  |  |  |  |  | 0 of 3 |"
    assert lines[-1] == "Failed: `b`: seed 0: b does not make images."


def test_a_share_never_leaves_its_range_and_one_of_several_seeds_has_no_interval(tmp_path: Path) -> None:
    plan = comparison("a", "b", "c", seeds=2)
    one = comparison("c", seeds=1)
    for label, seeds in (("a", 2), ("b", 1)):
        for seed in range(seeds):
            run = leave(plan, tmp_path, label, seed, 5.0)
            log = run / "metrics.jsonl"
            log.write_text(log.read_text().replace('"value": 0.5', f'"value": {0.9 - 0.5 * seed}'))
    leave(one, tmp_path, "c", 0, 5.0)
    rows = {row.entry.label: row for row in collect(plan, tmp_path).rows}
    a, b, c = rows["a"].spread("precision"), rows["b"].spread("precision"), collect(one, tmp_path).rows[0]
    assert (a and (a.low, a.high), b and (b.low, b.high)) == ((0.0, 1.0), (None, None))
    ratio = c.spread("frechet", ratio=True)
    assert ratio is not None
    assert (ratio.mean, ratio.low, ratio.high) == (2.5, 2.25, 2.75)


def test_flops_of_a_run_follow_its_phases(tmp_path: Path) -> None:
    plan = comparison("a", seeds=1)
    leave(plan, tmp_path, "a", 0, 5.0)
    (run,) = collect(plan, tmp_path).rows[0].runs
    assert [point.flops for point in run.curve] == [400 * 100, 400 * 100 + 400 * 300]
    assert [point.seconds for point in run.curve] == [20.0, 50.0]
    probe = collect(plan, tmp_path).rows[0].probe
    assert probe is not None
    assert probe.flops(200) == 200 * 100
    assert probe.flops(1000) == 400 * 100 + 600 * 300  # past what was planned, as in the last phase
    assert probe.rate == pytest.approx(1 / 0.015)


def test_the_run_shown_is_the_one_in_the_middle_and_of_two_the_worse(tmp_path: Path) -> None:
    for seeds, middle in ((3, 6.0), (2, 6.0), (1, 4.0)):
        plan, folder = comparison("a", seeds=seeds), tmp_path / str(seeds)
        for seed, frechet in zip(range(seeds), (4.0, 6.0, 9.0), strict=False):
            leave(plan, folder, "a", seed, frechet)
        shown = samples(folder, collect(plan, folder))
        assert list(shown) == ["real data", "a"]
        assert shown["a"].shape == (32, 8, 8, 1)
        assert (shown["a"] == 10 * middle).all()


def test_a_run_that_failed_after_its_measurements_counts_as_failed(tmp_path: Path) -> None:
    plan = comparison("a", seeds=1)
    run = leave(plan, tmp_path, "a", 0, 5.0)
    run.with_name(f"{run.name}.failed").write_text(json.dumps({"reason": "no", "status": 1}))
    assert collect(plan, tmp_path).rows[0].finished == []


def test_the_page_has_every_recipe_and_every_run_and_fetches_nothing(tmp_path: Path) -> None:
    plan = comparison("a", "b --loss <hinge>", "b")
    for seed in range(3):
        leave(plan, tmp_path, "a", seed, 8.0 + seed)
        leave(plan, tmp_path, "b --loss '<hinge>'", seed, (4.0, 5.0, 9.0)[seed])
    write_record(plan, tmp_path)
    page = (tmp_path / "report.html").read_text()
    figures = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    over_time, over_examples, over_flops, precision = figures
    assert [trace["name"] for trace in over_time["data"]] == ["b --loss &#x27;&lt;hinge&gt;&#x27;", "a"]
    best = over_time["data"][0]
    assert (best["x"], best["y"]) == ([20.0, 50.0], [6.0, 3.0])
    assert best["error_y"]["array"] == [3.0, 1.5]
    assert best["error_y"]["arrayminus"] == [2.0, 1.0]
    assert over_examples["data"][0]["x"] == [400, 800]
    assert over_flops["data"][0]["x"] == [40_000, 160_000]
    assert precision["layout"]["shapes"][0]["y0"] == 0.9
    assert "<hinge>" not in page
    assert "not finished" in page
    assert not re.search(r"(?:src|href)='(?!data:|#|runs/)", page.split("<script>")[0])
    record = json.loads((tmp_path / "compare.json").read_text())
    assert record["recipes"][0]["over_floor"]["values"] == [2.0, 2.5, 4.5]
    assert [recipe["metrics"] for recipe in record["recipes"]][2] == {}


def test_points_are_drawn_as_clouds_on_the_page_and_in_the_picture(tmp_path: Path) -> None:
    plan = comparison("a", seeds=1)
    leave(plan, tmp_path, "a", 0, 5.0, points=True)
    results = collect(plan, tmp_path)
    shown = samples(tmp_path, results)
    page = render(results, shown)
    assert page.count("class='panel'") == 2
    drawn = picture(shown)
    assert drawn is not None
    assert drawn.size == (2 * (360 + 20) + 20, 360 + 26 + 20 + 20)
    assert picture({"a": np.zeros((5, 3))}) is None


def test_labels_too_long_for_a_line_have_more_and_then_are_cut() -> None:
    x = np.zeros((32, 8, 8, 1), np.uint8)
    words = " ".join(f"--option-{i} value" for i in range(20))
    labels = ("a", "a " + " ".join(["--some option"] * 5), f"a {words}", "a --" + "long" * 50)
    labels = (*labels, f"a --{'long' * 50} {words}")
    one, two, four, unbroken, both = (picture({"real data": x, label: x}) for label in labels)
    assert one is not None
    assert two is not None
    assert four is not None
    assert unbroken is not None
    assert both is not None
    assert one.width == two.width == four.width == unbroken.width
    assert [drawn.height - one.height for drawn in (two, four, unbroken)] == [20, 60, 20]
    for drawn in (four, both):
        ink = np.asarray(drawn.convert("L"))[:, one.width // 2 + 10 :] < 100  # the second grid's side
        assert not ink[:, -20:].any(), "a label runs out of its grid"


def test_runs_that_the_clock_cut_short_are_named_below_the_table_and_on_the_page(tmp_path: Path) -> None:
    plan = comparison("a", "b", seeds=2)
    for entry in plan.entries:
        for seed in range(2):
            leave(plan, tmp_path, entry.label, seed, 5.0)
    assert "Out of time" not in markdown(collect(plan, tmp_path))
    speed = tmp_path / "probes" / f"{plan.entries[1].slug}.json"
    write_probe(Probe(1000, (Phase(1.0, 300.0, 0.02),), 4.0), speed)
    results = collect(plan, tmp_path)
    cut = "Out of time before all the examples planned, at which rates that fall would have come to their ends: "
    assert f"{cut}`b` seed 0 (80% of them), `b` seed 1 (80% of them).\n" in markdown(results)
    assert render(results, {}).count("out of time") == 2
    # What is almost whole is not called so, and what has not begun is no whole.
    assert [part(share) for share in (0.999, 1.0, 0.0, 0.29, None)] == ["99%", "100%", "0%", "29%", ""]
    (row,) = (row for row in results.rows if row.name == "b")
    none = dataclasses.replace(row, runs=tuple(dataclasses.replace(run, seen=0) for run in row.runs))
    assert len(none.cut) == 2


def test_runs_that_a_faster_machine_ended_early_are_counted_below_the_table_and_on_the_page(tmp_path: Path) -> None:
    plan = comparison("a", "b", seeds=2)
    for entry in plan.entries:
        for seed in range(2):
            leave(plan, tmp_path, entry.label, seed, 5.0)
    assert "faster" not in markdown(collect(plan, tmp_path))  # 50 of 60 seconds
    for seed, seconds in ((0, 24.0), (1, 33.0)):
        log = run_folder(tmp_path, plan.entries[1], seed) / "stats.jsonl"
        log.write_text(log.read_text().replace("50.0", str(seconds)))
    results = collect(plan, tmp_path)
    told = "2 of 4 runs had seen all the examples planned in 40% to 55% of the time"
    assert told in markdown(results)
    assert told in render(results, {})
    by_examples = dataclasses.replace(plan, seconds=None, examples=800)
    assert "faster" not in markdown(collect(by_examples, tmp_path))


def test_rows_are_called_by_what_tells_them_apart_and_the_table_gives_all_options_below(tmp_path: Path) -> None:
    plan = comparison("a --x 1 --y 2", "a --x 1 --z 3 4", "b --x 1", "a --x 1")
    assert list(short_names(plan.entries).values()) == ["a --y 2", "a --z 3 4", "b", "a"]
    # The same options in another order differ in nothing but their order.
    twins = comparison("a --x 1 --y 2", "a --y 2 --x 1").entries
    assert list(short_names(twins).values()) == ["a --x 1 --y 2", "a --y 2 --x 1"]
    for entry in plan.entries:
        leave(plan, tmp_path, entry.label, 0, 5.0)
    results = collect(plan, tmp_path)
    assert list(samples(tmp_path, results)) == ["real data", "a --y 2", "a --z 3 4", "b", "a"]
    table = markdown(results)
    assert "| `b` |" in table
    assert "\n- b: `b --x 1`\n" in table
    page = render(results, {})
    assert "<li>b: <code>b --x 1</code></li>" in page
    assert page.count("<li>") == 4


def test_the_claim_says_for_how_many_seeds_it_speaks(tmp_path: Path) -> None:
    plan = comparison("a", "b")
    leave(plan, tmp_path, "a", 0, 4.0)
    for seed in range(3):
        leave(plan, tmp_path, "b", seed, 5.0)
    page = render(collect(plan, tmp_path), {})
    assert "a (1 of 3 seeds) is nearest to the data" in page
    assert "Next is b at 2.5" in page


def test_the_page_says_how_rows_that_were_added_got_their_examples(tmp_path: Path) -> None:
    plan = comparison("a")
    assert "so that a slow hour of the machine meets all.<" in render(collect(plan, tmp_path), {})
    timed = dataclasses.replace(plan, command="pushforward compare …\npushforward compare --add …")
    counted = dataclasses.replace(timed, seconds=None, examples=100)
    told = "meets all; rows that were added went after the others"
    assert f"{told}, with as many examples as would have fitted" in render(collect(timed, tmp_path), {})
    assert f"{told}.<" in render(collect(counted, tmp_path), {})


def test_numbers_read_as_people_write_them() -> None:
    assert [si(v) for v in (0.5, 999.0, 80_300.0, 999_999.0, 1.2345e9, 999.7e9, 2e18, float("nan"))] == [
        "0.5", "999", "80.3 k", "1 M", "1.23 G", "1 T", "2 E", "",
    ]  # fmt: skip
    assert interval(None) == ""


def test_what_is_not_finite_is_null_in_the_json(tmp_path: Path) -> None:
    plan = comparison("a", seeds=1)
    run = leave(plan, tmp_path, "a", 0, 5.0)
    (run / "stats.jsonl").write_text("")
    record = as_json(collect(plan, tmp_path))
    assert record["recipes"][0]["runs"][0]["curve"][0]["seconds"] is None
    json.dumps(record, allow_nan=False)


def test_two_entries_of_one_name_are_refused() -> None:
    plan = comparison("a --b 1", "c")
    with pytest.raises(ValueError, match="a --b 1 is there twice"):
        dataclasses.replace(plan, entries=(plan.entries[0], plan.entries[0]))


def test_entries_that_differ_in_a_sign_alone_have_folders_of_their_own() -> None:
    assert (
        len({entry.slug for entry in comparison("a --b 0.5", "a --b -0.5", "a --b=0.5 -c", "a --b=-0.5 -c").entries})
        == 4
    )
