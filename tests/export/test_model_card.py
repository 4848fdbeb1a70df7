"""The card: every number in it is the run's, and it says what is known against the generator."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import small_runs
import torch
from small_runs import MEASURED

from pushforward.core import runlog
from pushforward.export.folder import CARD, PROGRAM
from pushforward.export.hub import CARRIED
from pushforward.export.writing import export
from pushforward.run import Run

DOCS = Path(__file__).parents[2] / "docs"


def measured(run: Run, *rows: dict[str, Any]) -> None:
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def other(tmp_path: Path) -> Run:
    return small_runs.make(tmp_path / "run", "cgan")


def card_of(run: Run, **options: Any) -> str:
    return (export(run, run.folder.parent / "generator", **options) / CARD).read_text(encoding="utf-8")


def rows_of(text: str) -> dict[str, list[str]]:
    """Tables' rows by their first cell."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0].strip("`"): [cell.strip("`") for cell in row[1:]] for row in rows}


def test_its_numbers_are_those_of_the_checkpoints_full_measurement(other: Run) -> None:
    seen = int(other.checkpoint().name)
    wrong = {name: {**m, "value": 123.0} for name, m in MEASURED.items()}
    quick = {"seen": seen, "quick": True, "metrics": wrong}
    measured(
        other, {"seen": 1, "quick": False, "metrics": wrong}, quick, {"seen": seen, "quick": False, "metrics": MEASURED}
    )
    text = card_of(other)
    rows = rows_of(text)
    (true,) = [row for row in runlog.rows(other.folder / "metrics.jsonl") if row["seen"] == seen and not row["quick"]]
    for name, m in true["metrics"].items():
        _, value, interval, floor, n = rows[name]
        assert float(value) == pytest.approx(m["value"], rel=5e-4)
        assert float(value) == float(f"{m['value']:.4g}")
        if m["low"] is None:
            assert (interval, floor) == ("", "")
        else:
            assert [float(end) for end in interval.split(" – ")] == [m["low"], m["high"]]
            assert float(floor) == float(f"{m['floor']:.4g}")
        assert int(n.replace(",", "")) == m["n"]
    assert "123" not in text.split("## Measurements")[1]
    assert rows["Examples seen"] == [str(seen)]


def test_it_says_what_is_known_against_the_generator(other: Run) -> None:
    measured(other, {"seen": int(other.checkpoint().name), "quick": True, "metrics": MEASURED})
    text = card_of(other).split("## Limitations")[1].split("## License")[0]
    assert "It has seen 4 of the 1,000 examples" in text
    assert "rest on 898 samples a side" in text
    assert "measured quickly" in text
    behind = text.split("Real data score better, by more than the interval, in ")[1].split("\n")[0]
    assert re.findall("`(.*?)`", behind) == ["recall"]  # the floors of others lie within their intervals
    assert "(0.9001 against 0.71)" in behind
    assert "It knows these classes: circle, square \\| round, star." in text


def test_it_says_of_how_many_examples_a_part_was(other: Run) -> None:
    config = json.loads((other.folder / "config.json").read_text())
    config["data"]["options"] |= {"limit": 1200, "mirror": True}
    (other.folder / "config.json").write_text(json.dumps(config))
    measured(other, {"seen": int(other.checkpoint().name), "quick": False, "metrics": MEASURED})
    text = card_of(Run(other.folder))
    assert rows_of(text)["Data"] == ["shapes: images of 1×8×8, 3 classes; 1,200 of its examples; mirror images too"]
    assert "It was trained on 1,200 examples, and measured against all of its data" in text
    assert "a copy of them" not in text


def test_a_checkpoint_that_was_not_measured_is_not_praised(other: Run) -> None:
    measured(other, {"seen": 999, "quick": False, "metrics": MEASURED})
    text = card_of(other)
    assert text.count("was not measured") == 2
    assert "0.32" not in text


def test_it_names_paper_data_configuration_and_license(other: Run) -> None:
    text = card_of(other, license="cc-by-4.0")
    front, body = text.split("---\n")[1:3]
    assert "library_name: pushforward\nlicense: cc-by-4.0\npipeline_tag: unconditional-image-generation\n" in front
    assert "[arXiv:1411.1784](https://arxiv.org/abs/1411.1784)" in body
    rows = rows_of(body)
    assert rows["Data"] == ["shapes: images of 1×8×8, 3 classes"]
    assert rows["Fingerprint of the data"] == ["f1" * 32]
    for option, value in other.config["config"].items():
        assert rows[option] == [", ".join(value) if isinstance(value, list) else str(value)]
    assert "![Samples](samples.png)" in body
    assert "`cc-by-4.0`, as its maker states." in body


def test_without_a_license_it_leaves_that_to_its_maker(other: Run) -> None:
    text = card_of(other)
    assert "\nlicense:" not in text.split("---\n")[1]
    assert "None is stated yet." in text


def test_what_it_and_the_documentation_print_runs_as_printed(exported: Path) -> None:
    pages = {"FOLDER": (exported / CARD).read_text(encoding="utf-8")}
    pages["digits-generator"] = (DOCS / "export.md").read_text(encoding="utf-8")
    for name, page in pages.items():
        blocks = re.findall(r"^```python\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
        assert len(blocks) == 3
        assert len([line for line in blocks[0].splitlines() if line]) <= 5
        for block in blocks:
            names: dict[str, Any] = {"latents": torch.randn(64, 3), "labels": torch.arange(64) % 3}
            if "onnxruntime" in block:
                names = {key: value.numpy() for key, value in names.items()}
            exec(compile(block.replace(name, str(exported)), "page", "exec"), names)
            assert names["x"].shape == (64, 1, 8, 8)


def test_it_says_which_file_the_hub_is_not_sent(exported: Path) -> None:
    text = (exported / CARD).read_text(encoding="utf-8")
    assert PROGRAM not in CARRIED
    assert f"`{PROGRAM}`, which the hub is not sent" in text
