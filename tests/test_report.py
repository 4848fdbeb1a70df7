import base64
import hashlib
import io
import json
import math
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pushforward.report import Run, Series, document, read_run, tiles, write_report
from pushforward.report.figures import downsample, groups, metric_figure, scalar_figure, smooth, wants_log
from pushforward.report.points import as_points, cloud, frame_of, surface_figure
from pushforward.report.sections import beside, evolution, interpolations, neighbours, surface
from pushforward.report.text import duration, embed, number

EVIL = "<script>alert(1)</script>&'\""


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, scripts, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.data: list[Any] = []
        self.text = ""
        self.stack: list[str] = []
        self._kind: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._kind = dict(attrs).get("type") or "" if tag == "script" else None
        if tag not in ("meta", "img", "input", "br"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag, f"</{tag}> closes another tag"
        self._kind = None

    def handle_data(self, data: str) -> None:
        if self._kind is None:
            self.text += data
        elif self._kind == "application/json":
            self.data.append(json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")))
        else:
            self.scripts.append(data)


@pytest.fixture
def real_plotly() -> None:
    """Asked for by the tests that want the five megabytes of plotly.js."""


@pytest.fixture(autouse=True)
def small_plotly(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real_plotly" not in request.fixturenames:
        monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "/* plotly.js */")


def _config(
    kind: str = "images", shape: tuple[int, ...] = (1, 8, 8), labels: list[str] | None = None
) -> dict[str, Any]:
    spec = {"name": "digits", "kind": kind, "shape": list(shape), "classes": len(labels) if labels else None}
    return {
        "pushforward": "0.1.0",
        "torch": "2.13.0",
        "python": "3.11.9",
        "platform": "Linux",
        "commit": "0123456789abcdef",
        "command": "pushforward train dcgan --data digits --seed 3",
        "recipe": "dcgan",
        "config": {"width": 64, "betas": [0.0, 0.99]},
        "data": {"name": "digits", "options": {}, "fingerprint": "f00d", "spec": spec, "labels": labels},
        "run": {"seed": 3, "examples": 6400, "batch": 64, "device": "cpu"},
    }


def _logs(run: Path, lines: int = 100) -> None:
    rows = [
        {
            "seen": 64 * i,
            "round": i,
            "seconds": 0.5 * i,
            "critic/loss": 1.25 + 0.01 * (i % 3),
            "generator/loss": 0.7,
            "critic/gradient": 10.0 ** (i % 4),
        }
        for i in range(1, lines + 1)
    ]
    (run / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    measured = [
        {
            "seen": seen,
            "metrics": {
                "frechet": {"value": value, "low": value - 0.02, "high": value + 0.02, "floor": 0.25, "n": 1797},
                "high_quality": {"value": 0.5, "low": None, "high": None, "floor": None, "n": 1000},
            },
        }
        for seen, value in ((3200, 0.8), (6400, 0.35))
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in measured))


def _images(n: int, side: int = 8, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, channels)).astype(np.uint8)


def _image_run(run: Path, labels: list[str] | None = None, frames: int = 3) -> Path:
    (run / "samples").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(_config(labels=labels)))
    _logs(run)
    y: dict[str, Any] = {} if labels is None else {"y": np.arange(20) % len(labels)}
    for k in range(1, frames + 1):
        np.savez(run / "samples" / f"{640 * k:012d}.npz", x=_images(20, seed=k), **y)
    classes: dict[str, Any] = {} if labels is None else {"fake_y": y["y"], "real_y": y["y"]}
    near = _images(15).reshape(3, 5, 8, 8, 1)
    paths = _images(14).reshape(2, 7, 8, 8, 1)
    exhibits = {"fake": _images(20), "real": _images(20), "query": _images(3), "neighbours": near}
    np.savez(run / "exhibits.npz", interpolations=paths, **exhibits, **classes)
    return run


def _points_run(run: Path) -> Path:
    rng = np.random.default_rng(0)
    (run / "samples").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(_config("points", (2,))))
    _logs(run)
    for k in (1, 2):
        np.savez(run / "samples" / f"{k:012d}.npz", x=rng.normal(size=(30, 2)).astype(np.float32))
    plane = {name: rng.uniform(-2, 2, shape).astype(np.float32) for name, shape in _PLANE.items()}
    np.savez(run / "exhibits.npz", extent=np.array([-3.0, 3.0, -3.0, 3.0]), **plane)
    return run


_PLANE = {
    "fake": (40, 2),
    "real": (50, 2),
    "query": (3, 2),
    "neighbours": (3, 4, 2),
    "interpolations": (2, 9, 2),
    "surface": (16, 16),
}


def _written(run: Path) -> Page:
    return Page(write_report(run).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("real_plotly")
def test_the_page_is_whole_carries_plotly_once_and_stays_under_twelve_mebibytes(tmp_path: Path):
    path = write_report(_image_run(tmp_path / "run"))
    seen = Page(path.read_text(encoding="utf-8"))
    assert seen.stack == []
    assert sum("plotly.js v" in script for script in seen.scripts) == 1
    assert 1 << 20 < path.stat().st_size < 12 << 20


@pytest.mark.parametrize("make", [_image_run, _points_run])
def test_nothing_is_fetched_and_only_the_two_scripts_of_the_page_may_run(tmp_path: Path, make):
    seen = _written(make(tmp_path / "run"))
    for tag, attributes in seen.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "srcset", "data", "action"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:image/png;base64,"))
    (policy,) = [a["content"] or "" for tag, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none';")
    assert len(seen.scripts) == 2
    for script in seen.scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "http" not in "".join(document.STYLE.split()) + document.SCRIPT


def test_the_page_says_what_was_run_and_how_well(tmp_path: Path):
    text = _written(_image_run(tmp_path / "run")).text
    for part in ("dcgan on digits", "pushforward train dcgan --data digits --seed 3", "0123456789ab", "2.13.0", "f00d"):
        assert part in text
    for part in ("0.35", "0.33 to 0.37", "0.25", "1.4× the floor", "1,797", "6,400", "50 s", "high quality"):
        assert part in text


def test_a_run_that_did_not_reach_its_end_says_how_far_it_came(tmp_path: Path):
    run = _image_run(tmp_path / "run")
    for name in ("metrics.jsonl", "exhibits.npz"):
        (run / name).unlink()
    _logs(run, 50)
    (run / "metrics.jsonl").unlink()
    assert "3,200 of 6,400" in _written(run).text


def test_values_on_more_samples_are_points_apart_from_the_curve_and_have_their_own_floor(tmp_path: Path):
    run = _image_run(tmp_path / "run")
    rows = [(1, 4.0, 1.0, 100), (2, 3.0, 1.0, 100), (2, 1.5, 0.5, 500)]
    lines = [
        {"seen": s, "metrics": {"frechet": {"value": v, "low": v - 1, "high": v + 2, "floor": f, "n": n}}}
        for s, v, f, n in rows
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    *_, curve, floor, point, own = metric_figure(read_run(run), "frechet")["data"]
    assert (curve["name"], list(curve["x"]), list(curve["y"])) == ("value", [1, 2], [4, 3])
    assert (floor["name"], list(floor["y"])) == ("floor", [1, 1, 1])
    assert (point["name"], point["mode"], list(point["y"])) == ("on 500 samples", "markers", [1.5])
    assert (point["error_y"]["array"], point["error_y"]["arrayminus"]) == ([2], [1])
    assert (own["mode"], list(own["y"])) == ("markers", [0.5])
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:2]))
    assert [trace["name"] for trace in metric_figure(read_run(run), "frechet")["data"][2:]] == ["value", "floor"]


def test_text_from_files_is_shown_and_never_run(tmp_path: Path):
    run = _image_run(tmp_path / "run", labels=[EVIL, "b"])
    config = json.loads((run / "config.json").read_text())
    config |= {"recipe": EVIL, "command": EVIL, "commit": EVIL, "config": {EVIL: EVIL}, "torch": EVIL}
    config["data"]["name"] = config["data"]["spec"]["shape"] = [EVIL]
    (run / "config.json").write_text(json.dumps(config))
    (run / "stats.jsonl").write_text(json.dumps({"seen": 1, f"{EVIL}/loss": 1.0, f"a/{EVIL}": math.nan}) + "\n")
    entry = {"value": 1.0, "low": 0.5, "high": 1.5, "floor": 1.0, "n": 9}
    (run / "metrics.jsonl").write_text(json.dumps({"seen": 1, "metrics": {EVIL: entry}}) + "\n")
    seen = _written(run)
    assert len(seen.scripts) == 2
    assert seen.text.count("alert(1)") > 10
    assert seen.text.count(EVIL) > 10


def test_an_embedded_number_that_is_not_finite_becomes_null_and_no_block_ends_early():
    block = embed({"a": [math.nan, math.inf, 1.5], "b": "</script><b>", "c": np.array([1, 2])})
    assert Page(block).data == [{"a": [None, None, 1.5], "b": "</script><b>", "c": [1, 2]}]


@pytest.mark.parametrize("name", ["stats.jsonl", "metrics.jsonl", "exhibits.npz", "samples"])
@pytest.mark.parametrize("fate", ["missing", "empty", "cut short", "garbage"])
@pytest.mark.parametrize("make", [_image_run, _points_run])
def test_a_file_that_is_missing_or_partial_costs_its_own_section_only(tmp_path: Path, make, name: str, fate: str):
    run = make(tmp_path / "run")
    targets = sorted((run / "samples").iterdir()) if name == "samples" else [run / name]
    for target in targets:
        whole = target.read_bytes()
        content = {"empty": b"", "cut short": whole[: len(whole) // 3], "garbage": b"\xff\x00[1]\n{}\n"}
        target.unlink()
        if fate != "missing":
            target.write_bytes(content[fate])
    html = write_report(run).read_text(encoding="utf-8")
    assert Page(html).stack == []
    assert html.count("class='nothing'") <= 6
    if name in ("exhibits.npz", "samples") or fate != "cut short":
        said = {"stats.jsonl": "Nothing was logged", "metrics.jsonl": "No metrics", "samples": "No samples"}
        assert said.get(name, "exhibits.npz is written when a run ends") in html


def test_a_run_that_just_started_has_a_page_that_says_so_section_by_section(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    html = write_report(tmp_path).read_text(encoding="utf-8")
    assert html.count("class='nothing'") == 9  # eight parts, and the sentence for browsers without scripts
    assert "<h1>a run</h1>" in html


def test_a_folder_without_settings_and_broken_settings_are_named(tmp_path: Path):
    with pytest.raises(ValueError, match=r"is not a run folder: it has no config\.json; "):
        write_report(tmp_path)
    with pytest.raises(ValueError, match="is not a run folder"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text('{"recipe": "dc')
    with pytest.raises(ValueError, match=r"config\.json is not whole JSON"):
        write_report(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="got list"):
        write_report(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_a_report_that_fails_half_way_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_report(_image_run(tmp_path / "run"))
    before = path.read_bytes()

    def broken(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="no space"):
        write_report(tmp_path / "run")
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.part")) + list(path.parent.glob(".*.part"))


def test_the_same_folder_gives_the_same_page_and_nothing_else_in_it_changes(tmp_path: Path):
    run = _image_run(tmp_path / "run")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    first, second = write_report(run).read_bytes(), write_report(run).read_bytes()
    assert first == second
    (run / "report.html").unlink()
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_a_torn_last_line_is_passed_over_and_scalars_come_with_their_examples(tmp_path: Path):
    run = _image_run(tmp_path / "run")
    with (run / "stats.jsonl").open("a") as file:
        file.write('{"seen": 9999, "critic/lo')
    read = read_run(run)
    assert read.seen == 6400
    assert read.scalars() == ["seconds", "critic/loss", "generator/loss", "critic/gradient"]
    assert read.series("critic/loss").seen.tolist() == [64 * i for i in range(1, 101)]
    assert read.metric("frechet", "low").value.tolist() == pytest.approx([0.78, 0.33])
    assert np.isnan(read.metric("high_quality", "floor").value).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 4000), limit=st.integers(5, 300), holes=st.floats(0, 0.5))
def test_downsampling_keeps_the_ends_and_the_extremes_within_the_limit(seed, n, limit, holes):
    rng = np.random.default_rng(seed)
    value = rng.standard_cauchy(n)
    value[rng.random(n) < holes] = np.nan
    small = downsample(Series(np.arange(n), value), limit)
    assert len(small.seen) <= max(limit, 5)
    assert (small.seen[0], small.seen[-1]) == (0, n - 1)
    assert (np.diff(small.seen) > 0).all()
    assert np.array_equal(small.value, value[small.seen], equal_nan=True)
    if np.isfinite(value).any():
        assert np.nanmax(small.value) == np.nanmax(value)
        assert np.nanmin(small.value) == np.nanmin(value)


def test_smoothing_a_constant_or_a_line_changes_nothing_inside():
    seen = np.arange(1000)
    flat = smooth(Series(seen, np.full(1000, 3.0)), log=False)
    assert flat.value == pytest.approx(np.full(len(flat.seen), 3.0))
    geometric = smooth(Series(seen, np.full(1000, 3.0)), log=True)
    assert geometric.value == pytest.approx(np.full(len(geometric.seen), 3.0))
    line = smooth(Series(seen, 2.0 * seen), log=False)
    inside = (line.seen > 20) & (line.seen < 980)
    assert line.value[inside] == pytest.approx(2.0 * line.seen[inside])


def test_an_axis_is_logarithmic_for_positive_values_over_decades_only():
    assert wants_log(np.logspace(-3, 1, 50))
    assert not wants_log(np.linspace(1, 5, 50))
    assert not wants_log(np.linspace(-100, 100, 50))
    assert not wants_log(np.array([np.nan, np.inf]))


def test_players_share_a_chart_a_term_and_real_meets_fake():
    charts = groups(["seconds", "critic/real", "critic/fake", "generator/loss", "critic/loss", "epsilon"])
    assert charts == {
        "loss": {"generator": "generator/loss", "critic": "critic/loss"},
        "critic: real and fake": {"real": "critic/real", "fake": "critic/fake"},
        "epsilon": {"epsilon": "epsilon"},
    }
    assert next(iter(charts)) == "loss"


def _run(stats: list[dict[str, Any]], exhibits: dict[str, np.ndarray] | None = None) -> Run:
    return Run(Path("run"), {}, stats, [], (), exhibits or {})


def test_values_that_are_not_finite_are_counted_beside_the_chart():
    run = _run([{"seen": i, "critic/loss": math.nan if i == 3 else 1.0} for i in range(10)])
    figure, remarks = scalar_figure(run, {"critic": "critic/loss"}, {"critic": "@c0"})
    assert remarks == ["1 of 10 values of critic/loss were not finite."]
    assert len(figure["data"]) == 1


def test_one_wild_value_does_not_flatten_a_curve_but_is_told():
    run = _run([{"seen": i, "critic/loss": -500.0 if i == 300 else math.sin(i)} for i in range(1000)])
    figure, (remark,) = scalar_figure(run, {"critic": "critic/loss"}, {"critic": "@c0"})
    low, high = figure["layout"]["yaxis"]["range"]
    assert -2 < low < -1 < 1 < high < 2
    assert "−500 to 1" in remark
    assert min(figure["data"][0]["y"]) == -500


def test_a_film_has_at_most_forty_frames_with_the_first_and_the_last(tmp_path: Path):
    run = _image_run(tmp_path / "run", frames=90)
    (film,) = Page(evolution(read_run(run)).html).data
    seen = [frame["seen"] for frame in film["frames"]]
    assert len(seen) == 40
    assert (seen[0], seen[-1]) == ("640", "57,600")
    sheet = Image.open(io.BytesIO(base64.b64decode(film["frames"][-1]["sheet"].partition(",")[2])))
    images, across = _images(20, seed=90), film["columns"]
    for i in range(20):
        y, x = i // across * 8, i % across * 8
        assert np.array_equal(np.asarray(sheet)[y : y + 8, x : x + 8], images[i, ..., 0])


def test_a_film_of_large_images_is_kept_small_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tiles, "FILM_BYTES", 1 << 20)
    frames = [(k, _images(16, 160, 3, seed=k)) for k in range(20)]
    html, remark = tiles.film(frames, "grid")
    assert len(html) < 1.4 * (1 << 20)
    assert "of 20 grids" in remark
    assert "of 16 images" in remark


def test_large_images_are_averaged_down_and_small_ones_left_alone():
    assert tiles.reduced(_images(2, 8)) is not None
    assert np.array_equal(tiles.reduced(_images(2, 128)), _images(2, 128))
    half = tiles.reduced(np.full((2, 256, 256, 3), 90, np.uint8))
    assert half.shape == (2, 128, 128, 3)
    assert (half == 90).all()


def test_class_labels_stand_under_their_images_and_repeat_down_columns(tmp_path: Path):
    run = read_run(_image_run(tmp_path / "run", labels=["cat", "dog", "owl", "bee", "ant"]))
    for section, each in ((evolution(run), 4), (beside(run), 8)):
        assert section.html.count("<span title='owl'>owl</span>") == each
    assert "--columns:5;" in beside(run).html


def test_labels_beyond_the_names_are_shown_as_numbers(tmp_path: Path):
    run = _image_run(tmp_path / "run", labels=["cat", "dog"])
    config = json.loads((run / "config.json").read_text())
    config["data"]["labels"] = None
    (run / "config.json").write_text(json.dumps(config))
    assert evolution(read_run(run)).html.count("<span title='1'>1</span>") == 10


def test_real_and_generated_images_are_as_many_and_as_large(tmp_path: Path):
    html = beside(read_run(_image_run(tmp_path / "run"))).html
    real, fake = html.split("<h3>Generated</h3>")
    assert real.count("<img") == fake.count("<img") == 20
    assert real.count("--columns:8;--narrow:8;--aspect:8/8") == fake.count("--columns:8;--narrow:8;--aspect:8/8") == 1


def test_a_query_comes_before_its_neighbours_and_a_path_is_a_row(tmp_path: Path):
    run = read_run(_image_run(tmp_path / "run"))
    section = neighbours(run)
    assert section is not None
    html = section.html
    first = html.split("<img src='data:image/png;base64,")[1].split("'")[0]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(first))))
    assert np.array_equal(image, run.exhibits["query"][0, ..., 0])
    assert html.count("<img") == 3 * (1 + 5)
    assert "--columns:7;" in interpolations(run).html


def test_clouds_come_back_to_their_places_and_strays_are_counted():
    points = np.random.default_rng(0).uniform(-1, 1, (100, 2))
    points[:3] = 5.0
    packed = cloud(points, (-1.0, 1.0, -1.0, 1.0), "c0")
    back = np.frombuffer(base64.b64decode(packed["xy"]), "<u2").reshape(-1, 2) / 65535 * 2 - 1
    assert np.abs(back - points[3:]).max() < 2 / 65535
    assert (packed["outside"], packed["of"]) == (3, 100)


def test_points_that_are_not_finite_are_counted_as_missing_and_only_such_are_no_points():
    points = as_points(np.array([[0.0, np.nan], [0.5, 0.5], [np.inf, 0.0]]))
    assert points is not None
    assert cloud(points, (-1.0, 1.0, -1.0, 1.0), "c0")["outside"] == 2
    assert np.isfinite(frame_of({}, points)).all()
    assert as_points(np.full((3, 2), np.nan)) is None
    assert as_points(_images(2)) is None


def test_the_critics_surface_has_rows_upward_and_zero_in_the_middle(tmp_path: Path):
    run = read_run(_points_run(tmp_path / "run"))
    section = surface(run)
    assert section is not None
    (figure,) = Page(section.html).data
    contour, real, fake = figure["data"]
    assert (contour["y"][0], contour["y"][-1]) == (-3, 3)
    assert contour["z"][2] == pytest.approx(run.exhibits["surface"][2].tolist(), rel=1e-5)
    assert contour["zmin"] == -contour["zmax"]
    assert (len(real["x"]), len(fake["x"])) == (50, 40)
    one_sided = surface_figure(np.full((4, 4), 2.0), (0.0, 1.0, 0.0, 1.0), None, None)["data"][0]
    assert (one_sided["zmin"], one_sided["zmax"]) == (2.0, 2.0)


def test_images_have_no_critics_surface(tmp_path: Path):
    assert surface(read_run(_image_run(tmp_path / "run"))) is None


@pytest.mark.parametrize(
    "exhibits",
    [
        {"query": _images(3), "neighbours": _images(3)},
        {"query": _images(3), "neighbours": np.zeros((3, 2, 9, 9, 1), np.uint8)},
        {"query": np.zeros((0, 8, 8, 1), np.uint8), "neighbours": np.zeros((0, 4, 8, 8, 1), np.uint8)},
        {"query": np.array("x"), "neighbours": np.zeros((3, 2, 2))},
        {"interpolations": np.zeros((2, 3, 4, 5)), "real": _images(2), "fake": np.zeros((2, 2))},
        {"interpolations": np.full((2, 3, 2), np.nan)},
    ],
)
def test_exhibits_of_odd_shapes_are_told_of_and_break_nothing(exhibits: dict[str, np.ndarray]):
    run = _run([], exhibits)
    for section in (beside(run), neighbours(run), interpolations(run)):
        assert section is not None
        assert "class='nothing'" in section.html


def test_points_that_ended_without_neighbours_have_no_section_for_them(tmp_path: Path):
    run = _points_run(tmp_path / "run")
    assert neighbours(read_run(run)) is not None
    np.savez(run / "exhibits.npz", real=np.zeros((5, 2)), fake=np.ones((5, 2)))
    assert neighbours(read_run(run)) is None


def test_numbers_read_as_people_write_them():
    shown = [number(v) for v in (25.0, 0.41234567, 12345.6, -3.0, 0.00001234, math.nan, math.inf)]
    assert shown == ["25", "0.4123", "12,346", "−3", "1.234e-5", "not a number", "∞"]
    assert [duration(v) for v in (4.25, 372, 7260)] == ["4.25 s", "6 min 12 s", "2 h 1 min"]


def test_time_adds_up_over_restarts(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    rows = [{"seen": i, "seconds": s} for i, s in enumerate((10.0, 60.0, 5.0, 30.0))]
    (tmp_path / "stats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "1 min 30 s" in _written(tmp_path).text


def test_reading_a_run_needs_no_torch():
    code = "import sys, pushforward.report; print([m for m in ('torch', 'matplotlib', 'plotly') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
