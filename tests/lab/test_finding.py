"""What every experiment shares: numbers with verdicts, the page, the files, the command."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from pushforward import lab
from pushforward.cli import main
from pushforward.lab import _finding
from pushforward.lab._finding import Chart, Finding, Made, Number, Part, render, said, save
from pushforward.report.charts import arrows, axes, band, curve, heat, plane


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 3


def made(command: str = "pushforward lab example") -> Made:
    return Made(command, Config(), 1.5, {"pushforward": "9.9"})


def finding(*numbers: Number) -> Finding:
    chart = Chart("a chart", {"data": [curve([1, 2], [3, 4], "y", "@c0")], "layout": axes("x", "y")}, "a line")
    return Finding(
        "A <title>", "A claim.", numbers, (Part("What is seen", "One.\n\nTwo.", (chart,), ("a < b",)),), ("S",)
    )


@pytest.mark.parametrize(
    ("relation", "measured", "holds"),
    [
        ("=", 1.0, True),
        ("=", 1.1, True),
        ("=", 0.9, True),
        ("=", 1.11, False),
        ("=", 0.89, False),
        ("≤", -5.0, True),
        ("≤", 1.1, True),
        ("≤", 1.11, False),
        ("≥", 5.0, True),
        ("≥", 0.9, True),
        ("≥", 0.89, False),
        ("=", float("nan"), False),
        ("≤", float("nan"), False),
        ("≥", float("nan"), False),
        ("=", float("inf"), False),
    ],
)
def test_a_number_holds_within_its_slack_and_never_as_nan(relation, measured, holds):
    assert Number("n", measured, 1.0, 0.1 + 1e-12, relation).holds is holds


def test_a_number_without_slack_must_be_equal_and_infinity_equals_itself():
    assert Number("n", 2.0, 2.0).holds
    assert not Number("n", 2.0 + 1e-9, 2.0).holds
    assert Number("n", float("inf"), float("inf")).holds
    assert Number("n", np.float64(1.0), 1.0).holds is True


def test_a_cell_says_the_relation_and_the_slack():
    assert said(Number("n", 0.0, 1.0, 0.25)) == "1 ± 0.25"
    assert said(Number("n", 0.0, 1.0, 0.25, "≤")) == "≤ 1 + 0.25"
    assert said(Number("n", 0.0, 1.0, 0.25, "≥")) == "≥ 1 − 0.25"
    assert said(Number("n", 0.0, 1.0, 0.0, "≥")) == "≥ 1"
    assert said(Number("n", 0.0, -0.5)) == "−0.5"


def test_the_page_holds_the_numbers_their_verdicts_the_text_and_the_command_escaped():
    page = render(finding(Number("good", 1.0, 1.0), Number("bad <i>", 2.0, 1.0, why="w")), made("a 'b' <c>"))
    body = page[: page.index("<script>/")] if "<script>/" in page else page
    assert "A &lt;title&gt;" in page
    assert "bad &lt;i&gt;" in page
    assert "a &#x27;b&#x27; &lt;c&gt;" in page
    assert "a &lt; b" in page
    assert "<i>" not in body.split("</style>")[1].split("<script>")[0]
    assert page.count("✓ holds") == 1
    assert page.count("✗ does not hold") == 1
    assert "<p>One.</p><p>Two.</p>" in page
    assert "<a href='#what-is-seen'>What is seen</a>" in page
    assert re.search(r"<dt>Seed</dt><dd>3</dd>", page)


def test_page_and_numbers_are_written_whole_and_a_second_time(tmp_path):
    folder = tmp_path / "deep" / "folder"
    for value in (1.0, 2.0):
        page = save(finding(Number("n", value, 1.0), Number("no limit", float("inf"), 1.0)), made(), folder)
    assert page == folder / "report.html"
    record = json.loads((folder / "numbers.json").read_text(encoding="utf-8"))
    assert record["holds"] is False
    assert [n["measured"] for n in record["numbers"]] == [2.0, "inf"]
    assert record["config"] == {"seed": 3}
    assert sorted(p.name for p in folder.iterdir()) == ["numbers.json", "report.html"]


def test_charts_are_plain_plotly_figures_with_the_themes_colours():
    up, fill = band([1, 2], [0, 0], [1, 1], "", "@c1")
    assert (fill["fill"], fill["fillcolor"], fill["showlegend"]) == ("tonexty", "@c1/0.18", False)
    assert up["line"]["width"] == 0
    assert (axes(xlog=True)["xaxis"]["type"], "type" in axes()["xaxis"]) == ("log", False)
    assert plane((0, 1, -2, 2))["yaxis"]["scaleanchor"] == "x"
    scaled = heat([0, 1], [0, 1], [[-1.0, 0.0], [float("nan"), 3.0]], "z", diverging=True)
    assert (scaled["zmin"], scaled["zmax"]) == (-3.0, 3.0)
    shafts, heads = arrows(np.zeros((2, 2)), np.array([[0.0, 1.0], [1.0, 0.0]]), "v", "@c0")
    assert heads["marker"]["angle"].tolist() == [0.0, 90.0]  # up, then to the right, clockwise
    assert len(shafts["x"]) == 6


@pytest.mark.parametrize("name", lab.names())
def test_every_experiment_has_a_summary_and_documented_knobs_with_a_seed(name):
    module = lab.load(name)
    assert 20 < len(lab.summary(name)) < 130
    fields = dataclasses.fields(module.Config)
    assert fields[0].name == "seed"
    assert module.Config() == module.Config(seed=0)
    source = Path(module.__file__).read_text(encoding="utf-8")
    for field in fields:
        assert re.search(rf'    {field.name}: [^\n]+\n    """', source), f"{field.name} has no docstring"


def test_the_command_runs_an_experiment_and_says_what_held(tmp_path, capsys):
    words = ["lab", "monte-carlo", "--out", str(tmp_path), "--repeats", "100", "--dimensions", "2"]
    assert main(words) == 0
    told = capsys.readouterr().out
    assert told.count("holds") == 6
    assert str(tmp_path / "report.html") in told
    record = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))
    assert record["command"] == " ".join(["pushforward", *words])


def test_the_command_fails_where_a_number_does_not_hold(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab.load("monte-carlo"), "run", lambda cfg, tell: finding(Number("n", 2.0, 1.0)))
    assert main(["lab", "monte-carlo", "--out", str(tmp_path)]) == 1
    assert "DOES NOT HOLD" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lab"], "lab needs an experiment first"),
        (["lab", "monte-calro"], "there is no experiment 'monte-calro'; did you mean monte-carlo?"),
        (["lab", "_finding"], "there is no experiment '_finding'"),
        (["lab", "monte-carlo", "--repaets", "3"], "--repaets"),
        (
            ["lab", "monte-carlo", "--repeats", "3"],
            "error: an error is measured over 100 or more repeats",
        ),
        (["lab", "monte-carlo", "--repeats", "3"], "got 3 repeats and 20 dimensions; raise them"),
        (["lab", "monte-carlo", "--repeats", "many"], "invalid literal for int() with base 10: 'many'"),
        (["lab", "mode-collapse", "--gamma", "nan"], "gamma must be a finite number, got nan"),
        (["lab", "vanishing-gradients", "--noise", "inf"], "noise must be a finite number, got inf"),
        (["lab", "all", "--seed", "1"], "has no options"),
    ],
)
def test_mistakes_are_one_line(words, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    errors = capsys.readouterr().err
    assert told in errors
    assert len(errors.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_training_runs_report_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    assert main(["lab", "monte-carlo", "--out", str(tmp_path)]) == 2
    assert "is a training run" in capsys.readouterr().err


def test_all_runs_every_experiment_into_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_finding, "render", lambda finding, made: finding.title)
    for name in lab.names():
        broken = name == "dirac-gan"
        found = dataclasses.replace(finding(Number("n", 2.0 if broken else 1.0, 1.0)), title=name)
        monkeypatch.setattr(lab.load(name), "run", lambda cfg, tell, found=found: found)
    assert main(["lab", "all"]) == 1  # one that does not hold is the status of all, and the others ran
    assert len(lab.names()) == 10
    for name in lab.names():
        assert (tmp_path / "runs" / "lab" / name / "report.html").read_text() == name
