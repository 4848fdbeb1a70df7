"""Compares the image recipes side by side, for docs/zoo.md: hours on two cores, which may be spread over days.

    python benchmarks/zoo.py glyphs             # every recipe on 32×32 letters, in runs/zoo/glyphs
    python benchmarks/zoo.py digits             # every recipe on 8×8 digits
    python benchmarks/zoo.py parts              # the best recipe on letters, with its parts swapped one by one
    python benchmarks/zoo.py networks           # generators and critics of three recipes in pairs, at equal examples
    python benchmarks/zoo.py holds              # what holds a critic: clipping, penalties, normalisation
    python benchmarks/zoo.py glyphs --go-on     # … from the runs on record in benchmarks/zoo/glyphs
    python benchmarks/zoo.py glyphs --record    # trains nothing: finished runs on record, table and picture in the docs

A record is what `pushforward compare` needs to count a run as done: its measurements, its times and a few samples, but
no networks. It goes on only on a processor of the same name, as its runs were given minutes. Rows that have come since
join it by `--add`; those that are no longer asked for leave with the next record, and are trained to their end before
where they are not.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from marks import put

from pushforward.compare.picture import ACROSS, DOWN
from pushforward.compare.plan import Comparison, Entry, keep_plan, read_plan
from pushforward.compare.record import write_record
from pushforward.compare.results import run_folder
from pushforward.compare.runs import finished
from pushforward.compare.speed import read_probe
from pushforward.core import runlog
from pushforward.core.checkpoint import write_text
from pushforward.exhibits import write_npz

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benchmarks" / "zoo"
PAGE, PICTURES = ROOT / "docs" / "zoo.md", ROOT / "docs" / "pictures"

R1 = "--penalty r1 --penalty-weight 0.1 --penalty-every 8"
CGAN = "cgan --conditioning projection --lr 2e-3 --width 16 --lr-hold 0.3 --ema 50000"
STYLEGAN2 = (
    "stylegan2 --conditioning projection --width 64 --base 256 --path-weight None --mixing 0 --batch 16 --lr 5e-3"
    " --penalty-weight 1"
)
R3GAN = "r3gan --conditioning projection --blocks 1 --width 64 --batch 16 --lr 1e-3 --penalty-weight 1 --beta2 0.99"
GLYPHS = (
    f"{CGAN} {R1}",
    "dcgan --lr 1e-3 --width 16 --lr-hold 0.3",
    "biggan --pyramid --width 8 --batch 16",
    "projection --pyramid --critic-steps 1 --width 8 --batch 16",
    "sngan --pyramid --conditioning concatenation --critic-steps 1 --width 8 --batch 16",
    "sagan --pyramid --width 8 --batch 16",
    STYLEGAN2,
    R3GAN,
    "progan --conditioning projection --width 64 --batch 16 --phase 4000 --group 16",
    "stylegan --conditioning projection --width 64 --batch 16 --lr 2.5e-3",
    "logan --pyramid --width 4 --batch 16",
    f"lapgan --conditioning projection --lr 1e-3 --batch 32 --width 8 {R1}",
    "gan --ema 20000",
)
DIGITS = (
    "cgan --conditioning projection",
    "dcgan --lr 1e-3",
    "biggan",
    "projection --critic-steps 1",
    "sngan --conditioning concatenation --critic-steps 1",
    "sagan",
    "stylegan2 --conditioning projection --width 32 --base 256 --path-weight None --mixing 0 --batch 16 --lr 2.5e-3"
    " --penalty-weight 10",
    "r3gan --conditioning projection",
    "progan --conditioning projection --batch 16",
    "stylegan --conditioning projection --batch 16 --lr 2.5e-3 --penalty-weight 10",
    "logan",
    f"lapgan --conditioning concatenation --lr 1e-3 {R1}",
    "gan --maxout --width 480 --ema 20000",
)
# The best recipe with one part swapped at a time, then with SNGAN's critic and with R3GAN's objective, several parts at
# once; StyleGAN2, whose objective is the fourth row's; R3GAN, and its networks with the best recipe's objective.
PARTS = (
    GLYPHS[0],
    CGAN,
    CGAN.replace("projection", "concatenation") + f" {R1}",
    f"{CGAN} --critic-norm None {R1}",
    f"{CGAN} --critic-norm spectral --loss hinge",
    f"{CGAN} --critic-norm None --loss relativistic --penalty r1+r2 --penalty-weight 1",
    STYLEGAN2,
    R3GAN,
    f"{R3GAN.replace(' --penalty-weight 1', '')} --loss non-saturating {R1}",
)
# One recipe's generator against another's critic, by the same objective, rates and examples: see benchmarks/mixed.py.
PAIRS = ("dcgan dcgan", "r3gan dcgan", "dcgan r3gan", "r3gan r3gan", "stylegan2 dcgan", "dcgan stylegan2",
         "stylegan2 stylegan2")  # fmt: skip
NETWORKS = tuple("benchmarks/mixed.py --generator {} --critic {}".format(*pair.split()) for pair in PAIRS)
# What holds a critic, in DCGAN's networks; the losses and moves are those that each came with.
HOLDS = (
    "dcgan --lr 1e-3 --critic-norm None",
    f"dcgan --lr 1e-3 --critic-norm None {R1}",
    "dcgan --lr 1e-3 --critic-norm spectral",
    "dcgan --lr 1e-3",
    "wgan",
    "wgan --clip 0.05",
    "dcgan --lr 1e-3 --critic-norm None --loss wasserstein --penalty gp --critic-steps 5",
    "wgan --lr 1e-3",
    "wgan --lr 1e-3 --clip 0.05",
)
COMPARISONS = {
    "glyphs": (GLYPHS, "--data glyphs --resolution 32 --budget 10m"),
    "digits": (DIGITS, "--data digits --budget 10m"),
    "parts": (PARTS, "--data glyphs --resolution 32 --budget 4m"),
    "networks": (NETWORKS, "--data glyphs --resolution 32 --examples 40000"),
    "holds": (HOLDS, "--data digits --budget 2m"),
}
EACH = "--seeds 3 --jobs 2 --evaluations 4"


def carry_out(name: str, folder: Path) -> int:
    """`pushforward compare` of these rows; goes on with what the folder holds, and adds the rows that it lacks."""
    (rows, terms), plan = COMPARISONS[name], read_plan(folder)
    there = [] if plan is None else [asked_as(entry) for entry in plan.entries]
    fresh = [row for row in rows if shlex.split(row) not in there]
    words = [*fresh, *(terms.split() + EACH.split() if plan is None else ["--add"] if fresh else [])]
    words = ["compare", *words, "--out", str(folder.resolve())]
    return subprocess.run([sys.executable, "-m", "pushforward", *words], check=False, cwd=ROOT).returncode


def asked_as(entry: Entry) -> list[str]:
    """The words of a row."""
    return [entry.recipe, *entry.words]


def fetch(name: str, folder: Path) -> None:
    """Puts what is on record into a folder that holds no comparison yet."""
    plan = read_plan(RECORDS / name)
    if plan is None:
        raise SystemExit(f"{RECORDS / name} holds no record of {name}; leave out --go-on to begin it")
    if read_plan(folder) is not None:
        raise SystemExit(f"{folder} holds a comparison already; leave out --go-on to go on with that, or name --runs")
    copy(RECORDS / name, folder, plan)


def copy(one: Path, other: Path, plan: Comparison) -> None:
    """The plan, each recipe's speed and the runs that have ended, as far as a comparison reads them."""
    (other / "probes").mkdir(parents=True, exist_ok=True)
    for entry in plan.entries:
        found = [Path("probes", f"{entry.slug}{end}") for end in (".json", ".failed")]
        for seed in range(plan.seeds):
            place = run_folder(one, entry, seed)
            if finished(place):
                _copy_run(place, run_folder(other, entry, seed))
            found.append(Path("runs", f"{place.name}.failed"))
        for path in found:
            if (one / path).exists():
                (other / path).parent.mkdir(exist_ok=True)
                shutil.copy(one / path, other / path)
    keep_plan(plan, other)


def _copy_run(found: Path, put: Path) -> None:
    put.mkdir(parents=True, exist_ok=True)
    measured = runlog.rows(found / "metrics.jsonl")
    kept = {row["seen"] for row in measured}
    times = [row for row in runlog.rows(found / "stats.jsonl") if row["seen"] in kept]
    _write(put / "stats.jsonl", [{"seen": row["seen"], "seconds": row["seconds"]} for row in times])
    with np.load(found / "exhibits.npz") as held:
        write_npz(put / "exhibits.npz", {key: held[key][: ACROSS * DOWN] for key in ("real", "fake")})
    # Last, as this is what says that the run has finished.
    _write(put / "metrics.jsonl", measured)


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def record(name: str, folder: Path) -> None:
    """Puts the runs that have ended on record; writes the table between the page's marks, and the picture."""
    plan, kept = read_plan(folder), RECORDS / name
    if plan is None:
        raise SystemExit(f"{folder} holds no comparison; begin it with: python benchmarks/zoo.py {name}")
    rows = [shlex.split(row) for row in COMPARISONS[name][0]]
    wanted = sorted((e for e in plan.entries if asked_as(e) in rows), key=lambda entry: rows.index(asked_as(entry)))
    if not wanted:
        raise SystemExit(f"no row in {folder} is one of {name}'s; its rows are in {Path(__file__).name}")
    for entry in (e for e in plan.entries if e not in wanted):
        print(f"left out, as it is no row of {name}: {entry.label}")
    plan = replace(plan, entries=tuple(wanted))
    if lost := lacking(folder, kept, plan):
        raise SystemExit(f"{kept} has {lost}, which {folder} has not; begin from the record, with --go-on")
    results = write_record(plan, folder)
    done = sum(len(row.finished) for row in results.rows)
    if not done:
        raise SystemExit(f"no run in {folder} has finished yet; wait for the first")
    fresh = kept.with_name(f".{name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    copy(folder, fresh, replace(plan, command=f"python benchmarks/zoo.py {name}"))
    shutil.rmtree(kept, ignore_errors=True)
    fresh.rename(kept)
    shutil.copy(folder / "samples.png", PICTURES / f"zoo-{name}.png")
    put(PAGE, name, (folder / "table.md").read_text(encoding="utf-8"))
    print(f"{done} of {len(plan.entries) * plan.seeds} runs are on record in {kept}")


def lacking(folder: Path, kept: Path, plan: Comparison) -> str | None:
    """What a record has of a plan's rows that a comparison would lose; None where it has nothing more."""
    before, slugs = read_plan(kept), {entry.slug for entry in plan.entries}
    for entry in () if before is None else (entry for entry in before.entries if entry.slug in slugs):
        speed = Path("probes", f"{entry.slug}.json")
        if (kept / speed).exists() and read_probe(kept / speed) != read_probe(folder / speed):
            return f"another speed of {entry.label}"
        for seed in range(plan.seeds):
            if finished(run_folder(kept, entry, seed)) and not finished(run_folder(folder, entry, seed)):
                return f"{entry.label} of seed {seed}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("comparison", choices=COMPARISONS)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "zoo", help="where the comparisons' folders are")
    parser.add_argument("--go-on", action="store_true", help="begin from the runs on record")
    parser.add_argument("--record", action="store_true", help="put what has finished on record, and train nothing")
    asked = parser.parse_args()
    folder = asked.runs / asked.comparison
    if asked.record:
        record(asked.comparison, folder)
        return 0
    if asked.go_on:
        fetch(asked.comparison, folder)
    return carry_out(asked.comparison, folder)


if __name__ == "__main__":
    sys.exit(main())
