import json

import pytest
import torch

from pushforward.core import runlog
from pushforward.core.runlog import Scalars


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "stats.jsonl"
    assert runlog.rows(path) == []
    written = [{"seen": i, "critic/loss": i / 3, "note": "π\n"} for i in range(3)]
    for row in written:
        runlog.append(path, row)
    assert runlog.rows(path) == written
    assert len(path.read_text(encoding="utf-8").splitlines()) == 3


def test_a_line_cut_short_is_passed_over_and_a_resumed_run_writes_after_whole_lines(tmp_path):
    path = tmp_path / "stats.jsonl"
    for seen in (10, 20, 30):
        runlog.append(path, {"seen": seen})
    path.write_text(path.read_text(encoding="utf-8") + '{"seen": 4', encoding="utf-8")
    assert [row["seen"] for row in runlog.rows(path)] == [10, 20, 30]
    runlog.rewind(path, 20)
    runlog.append(path, {"seen": 25})
    assert [json.loads(line)["seen"] for line in path.read_text(encoding="utf-8").splitlines()] == [10, 20, 25]
    assert [p.name for p in tmp_path.iterdir()] == ["stats.jsonl"]


def test_rewinding_what_is_not_there_makes_nothing(tmp_path):
    runlog.rewind(tmp_path / "stats.jsonl", 5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n", [1, 511, 512, 513, 2000])
def test_scalars_are_means_since_the_last_flush_however_many(n):
    scalars = Scalars()
    for i in range(n):
        scalars.add("a", torch.tensor(float(i), requires_grad=True))
        if i % 2 == 0:
            scalars.add("b", torch.tensor(2.0, dtype=torch.bfloat16))
    means = scalars.flush()
    assert means == pytest.approx({"a": (n - 1) / 2, "b": 2}, rel=1e-6)
    assert scalars.flush() == {}
    scalars.add("a", torch.tensor(5.0))
    assert scalars.flush() == {"a": 5}


def test_scalars_that_nobody_flushes_do_not_grow_without_bound():
    scalars = Scalars()
    for _ in range(5000):
        scalars.add("a", torch.tensor(1.0))
    held = sum(len(values) for values in scalars._waiting.values())
    assert held < Scalars.FOLD
    assert scalars.flush() == {"a": 1}


def test_scalars_keep_no_graph_alive():
    scalars = Scalars()
    x = torch.ones(3, requires_grad=True)
    scalars.add("a", x.sum())
    assert not any(value.requires_grad for values in scalars._waiting.values() for value in values)
