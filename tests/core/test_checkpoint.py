import ast
import contextlib
import errno
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from torch import Tensor

from pushforward.core import checkpoint
from pushforward.core.checkpoint import REST, TENSORS, CheckpointError, Checkpoints, join, read, split, write

DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.uint8]
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
tensors = st.builds(lambda shape, dtype: torch.randint(0, 2, shape).to(dtype), shapes, st.sampled_from(DTYPES))
views = st.sampled_from([torch.arange(12).view(3, 4), torch.arange(12).view(3, 4).T, torch.arange(12)[2:5]])
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
names = st.sampled_from(["", "a", "b", "a/b", "0", "1", "$tensor", "$dict", "'", "__metadata__", 0, 1, -2])
trees = st.recursive(
    tensors | views | scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple) | st.dictionaries(names, inner, max_size=4)
    ),
    max_leaves=12,
)


def same(a, b) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and [type(k) for k in a] == [type(k) for k in b] and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


@given(trees)
@settings(deadline=None)
def test_split_and_join_are_inverse_through_json_also_where_names_collide(tree):
    rest, held = split(tree)
    assert same(join(json.loads(json.dumps(rest)), held), tree)


@given(st.dictionaries(names, trees, max_size=4))
@settings(deadline=None, max_examples=25)
def test_what_is_written_is_read_again(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("checkpoint") / "0"
    write(folder, tree)
    assert same(read(folder), tree)


def test_numbers_that_are_not_finite_come_back(tmp_path):
    write(tmp_path / "0", {"best": math.inf, "worst": -math.inf, "x": torch.tensor([math.nan, math.inf])})
    again = read(tmp_path / "0")
    assert (again["best"], again["worst"]) == (math.inf, -math.inf)
    assert again["x"].isnan().tolist() == [True, False]


def test_tensors_that_share_memory_or_lie_otherwise_are_each_whole_and_the_given_ones_untouched(tmp_path):
    base = torch.arange(24.0).reshape(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    tree = {"a": base, "b": base, "c": base[:, :, 1:], "d": torch.tensor(3.5), "e": torch.empty(0, 2)}
    write(tmp_path / "0", tree)
    again = read(tmp_path / "0")
    assert all(torch.equal(again[key], tree[key]) and again[key].shape == tree[key].shape for key in tree)
    assert base.is_contiguous(memory_format=torch.channels_last)
    again["a"].zero_()
    assert torch.equal(again["b"], base)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": {1, 2}}, "got set at a"),
        ({"a": [object()]}, "got object at a/0"),
        ({"a": {1.5: 0}}, "keys are strings or integers, got 1.5 at a"),
        ({None: 0}, "got None at the top"),
    ],
)
def test_what_cannot_be_kept_is_named_before_anything_is_written(tmp_path, tree, message):
    with pytest.raises(TypeError, match=message):
        write(tmp_path / "0", tree)
    assert list(tmp_path.iterdir()) == []


def fail(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def refuse(*args, **kwargs):
    raise SafetensorError("Error while serializing: I/O error: No space left on device")


@pytest.mark.parametrize(
    ("where", "how"),
    [("save_file", fail), ("save_file", refuse), ("sync", fail), ("os.replace", fail), ("json.dumps", fail)],
)
@pytest.mark.parametrize("again", [False, True])
def test_a_full_disk_is_one_error_and_earlier_checkpoints_stay_whole(tmp_path, monkeypatch, where, how, again):
    kept = Checkpoints(tmp_path)
    kept.save({"x": torch.tensor(1.0)}, 100)
    with monkeypatch.context() as patch:
        patch.setattr(f"pushforward.core.checkpoint.{where}", how)
        with pytest.raises(CheckpointError, match=r"could not be written .*No space left.*earlier ones are whole"):
            kept.save({"x": torch.tensor(2.0)}, 100 if again else 200)
    assert [p.name for p in tmp_path.iterdir()] == [f"{100:012d}"]
    assert read(kept.last())["x"] == 1
    kept.save({"x": torch.tensor(3.0)}, 200)
    assert read(kept.last())["x"] == 3


def test_when_only_the_second_rename_fails_the_former_checkpoint_is_put_back(tmp_path, monkeypatch):
    kept, replace = Checkpoints(tmp_path), os.replace
    kept.save({"x": torch.tensor(1.0)}, 100)

    def picky(a, b):
        if str(a).endswith(".part"):
            fail()
        replace(a, b)

    monkeypatch.setattr("pushforward.core.checkpoint.os.replace", picky)
    with pytest.raises(CheckpointError):
        kept.save({"x": torch.tensor(2.0)}, 100)
    assert [p.name for p in tmp_path.iterdir()] == [f"{100:012d}"]
    assert read(kept.last())["x"] == 1


def test_an_unwritable_place_is_the_same_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be written"):
        Checkpoints(tmp_path / "file").save({}, 0)


@pytest.mark.parametrize("moment", ["save_file", "sync", "os.replace", "shutil.rmtree"])
@pytest.mark.parametrize("nth", [0, 1, 2, 3, 4])
def test_stopped_before_any_call_a_save_leaves_whole_checkpoints_and_sweep_the_rest(tmp_path, monkeypatch, moment, nth):
    class Killed(BaseException):
        pass

    kept = Checkpoints(tmp_path, keep=1)
    kept.save({"x": torch.tensor(1.0)}, 100, score=1.0)
    kept.save({"x": torch.tensor(2.0)}, 200, score=2.0)
    calls = []
    owner, _, name = f"pushforward.core.checkpoint.{moment}".rpartition(".")
    real = getattr(checkpoint if moment in ("save_file", "sync") else getattr(checkpoint, moment.split(".")[0]), name)

    def dying(*args, **kwargs):
        calls.append(args)
        if len(calls) > nth:
            raise Killed
        return real(*args, **kwargs)

    for seen in (300, 300):  # a new one, and the same anew
        with monkeypatch.context() as patch:
            patch.setattr(f"{owner}.{name}", dying)
            with contextlib.suppress(Killed):
                kept.save({"x": torch.tensor(3.0)}, seen, score=3.0)
        calls.clear()
        assert all(read(p)["x"] == int(p.name) // 100 for p in kept.all())
        kept.sweep()
        assert all(read(p)["x"] == int(p.name) // 100 for p in kept.all())
        assert kept.best().name == f"{100:012d}"
        assert kept.last().name in (f"{200:012d}", f"{300:012d}")
        assert all(p.name[0] != "." for p in tmp_path.iterdir())


KILLER = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from pushforward.core.checkpoint import Checkpoints, read
torch.set_num_threads(1)
folder, random = Path(sys.argv[1]), random.Random(0)
kept, written = Checkpoints(folder, keep=2), 0
for trial in range(15):
    child = os.fork()
    if child == 0:
        seen = int(kept.last().name) if kept.last() else 0
        while True:
            seen += 1
            for again in range(2):
                kept.save({"x": torch.full((50_000,), float(seen)), "seen": seen}, seen, score=(seen * 7) % 11)
    time.sleep(random.uniform(0.002, 0.05))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kept.sweep()
    newest = kept.last()
    assert newest is not None or written == 0
    if newest:
        assert int(newest.name) >= written, "a kill lost the newest checkpoint"
        written = int(newest.name)
    for path in kept.all():
        tree = read(path)
        assert tree["seen"] == int(path.name) and bool((tree["x"] == tree["seen"]).all())
assert written > 5, written
kept.save({"x": torch.zeros(1), "seen": written + 1}, written + 1)
assert len(kept.all()) <= 3, kept.all()  # two newest and the best, whatever kills had left
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_random_moments_every_checkpoint_loads_and_none_is_lost(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(tmp_path)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_newest_and_the_best_stay(tmp_path):
    kept = Checkpoints(tmp_path, keep=2)
    for seen, score in ((1, None), (2, 5.0), (3, 0.5), (4, 0.5), (5, 9.0), (6, math.nan), (7, None)):
        kept.save({"seen": seen}, seen, score)
    assert [read(p)["seen"] for p in kept.all()] == [4, 6, 7]  # 4: the newest of two equals
    assert read(kept.best())["seen"] == 4
    assert read(kept.last())["seen"] == 7
    assert Checkpoints(tmp_path / "none").last() is None
    assert Checkpoints(tmp_path / "none").best() is None


def test_at_least_one_must_be_kept(tmp_path):
    with pytest.raises(ValueError, match="at least 1 checkpoint must be kept, got 0"):
        Checkpoints(tmp_path, keep=0)


def damage(folder: Path, kind: str) -> None:
    tensors, rest = folder / TENSORS, folder / REST
    if kind == "cut":
        tensors.write_bytes(tensors.read_bytes()[:-5])
    elif kind == "no tensors":
        tensors.unlink()
    elif kind == "no rest":
        rest.unlink()
    elif kind == "rest cut":
        rest.write_bytes(rest.read_bytes()[:-5])
    elif kind == "header":
        tensors.write_bytes(b"\xff" * 8 + tensors.read_bytes()[8:])
    elif kind == "another tensor":
        rest.write_text(rest.read_text().replace('{"$tensor": "x"}', '{"$tensor": "y"}'))
    else:
        rest.write_text(kind)


@pytest.mark.parametrize(
    "kind",
    [
        "cut",
        "no tensors",
        "no rest",
        "rest cut",
        "header",
        "another tensor",
        "[]",
        "{}",
        '{"tree": {"$dict": 3}}',
        "\x00",
    ],
)
def test_a_damaged_checkpoint_is_refused_by_name_and_does_not_stop_later_saves(tmp_path, kind):
    kept = Checkpoints(tmp_path, keep=3)
    path = kept.save({"x": torch.ones(100)}, 1, score=1.0)
    damage(path, kind)
    with pytest.raises(CheckpointError, match=f"{path} could not be read .*try an earlier one"):
        read(path)
    kept.save({"x": torch.ones(100)}, 2, score=2.0)
    assert read(kept.last())["x"].sum() == 100


def test_sweep_touches_only_its_own_remains(tmp_path):
    for name in (".git", ".cache.part", ".000000000001.part", ".000000000002.gone", "notes"):
        (tmp_path / name).mkdir()
    Checkpoints(tmp_path).sweep()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".cache.part", ".git", "notes"]


def test_a_text_is_there_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "config.json"
    checkpoint.write_text(path, "one")
    with monkeypatch.context() as patch:
        patch.setattr("pushforward.core.checkpoint.os.fsync", fail)
        with pytest.raises(OSError, match="No space"):
            checkpoint.write_text(path, "two")
    assert path.read_text() == "one"
    checkpoint.write_text(path, "three")
    assert path.read_text() == "three"
    assert [p.name for p in tmp_path.iterdir()] == ["config.json"]


def test_nothing_in_the_core_pickles():
    for path in Path(checkpoint.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = {alias.name.split(".")[0] for alias in node.names} | {getattr(node, "module", None)}
                assert modules.isdisjoint({"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}), path
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
                assert node.attr not in ("load", "save"), path
