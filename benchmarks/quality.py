"""Trains recipes on data over several seeds, and puts their measurements beside the sampling floor in one table.

    python benchmarks/quality.py                          # everything in docs/results.md
    python benchmarks/quality.py --only grid25            # one data set
    python benchmarks/quality.py --table                  # the table again, from runs that are there
    python benchmarks/quality.py --of objectives          # every objective at equal cost, in docs/theory.md
    python benchmarks/quality.py --of few                 # 200 images, with and without augmentations

A run that is there and finished is not trained again; one that was cut off is continued. Each row's command, with
`--seed S`, repeats its runs.
"""

import argparse
import json
import math
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from marks import put

from pushforward.core import runlog

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Row:
    """One line of the table: a recipe on data, with options, over seeds."""

    data: str
    recipe: str
    options: str = ""
    seeds: tuple[int, ...] = (0, 1, 2)

    divergence: str = ""
    variant: str = ""

    @property
    def command(self) -> str:
        chosen = f"--divergence '{self.divergence}'" if self.divergence else ""
        return " ".join(f"pushforward train {self.recipe} --data {self.data} {chosen} {self.options}".split())

    @property
    def name(self) -> str:
        """How the row is called: the recipe, f-GAN's divergence, and the variant that its options make of it."""
        return " ".join(f"{self.recipe} {self.divergence} {self.variant}".split())

    def folder(self, runs: Path, seed: int) -> Path:
        return runs / f"{self.data}-{self.name.replace(' ', '-')}-{seed}"


ROWS = (
    Row("grid25", "gan"),
    Row("grid25", "r3gan"),
    Row("stacked-digits", "r3gan", "--examples 1200000 --ema 50000"),
    Row("digits", "dcgan"),
    Row("digits", "cgan", "--examples 400000"),
    Row("digits", "wgan-gp", "--examples 600000"),
    Row("digits", "r3gan", "--examples 300000"),
)

# 200 images; what comes out is measured against all. A critic that nothing holds back learns them by heart; ADA's p may
# rise within the run. Normalised critics beside it, which overfit less.
LITTLE = "--limit 200 --examples 300000 --lr 1e-3"
FREE = f"{LITTLE} --width 64 --critic-norm None"
AUGMENTED = {"": "", "diffaugment": "--augment diffaugment", "ada": "--augment ada --augment-speed 100000"}
FEW = tuple(
    Row("digits", "dcgan", f"{options} {how}".strip(), variant=" ".join(f"{variant} {name}".split()))
    for variant, options in (("free", FREE), ("", LITTLE))
    for name, how in AUGMENTED.items()
)

DIVERGENCES = (
    "kl",
    "reverse_kl",
    "jeffreys",
    "jensen_shannon",
    "gan",
    "weighted_jensen_shannon(0.1)",
    "squared_hellinger",
    "alpha(1.5)",
    "pearson",
    "neyman",
    "total_variation",
)
# Examples that take about as long on one core: half a minute for the ring, three times as much for the grid, whose
# modes nothing learns in half a minute, and one minute for images.
EQUAL = {
    "ring8": {"wgan": 1_200_000, "mmd-gan": 190_000, "gmmn": 310_000, "r3gan": 400_000},
    "grid25": {"wgan": 3_600_000, "mmd-gan": 570_000, "gmmn": 930_000, "r3gan": 1_200_000},
    "digits": {"wgan": 420_000, "wgan-gp": 94_000, "mmd-gan": 80_000, "gmmn": 900_000, "r3gan": 36_000},
}
OTHERS = {"ring8": 870_000, "grid25": 2_610_000, "digits": 265_000}
COMPARED = ("lsgan", "wgan", "wgan-gp", "mmd-gan", "gmmn", "r3gan")


def compared() -> tuple[Row, ...]:
    """Every objective on every kind of data, all at about the same cost."""
    rows = []
    for data in ("ring8", "grid25", "digits"):
        for recipe, divergence in [*(("fgan", d) for d in DIVERGENCES), *((r, "") for r in COMPARED)]:
            examples = EQUAL[data].get(recipe, OTHERS[data])
            rows.append(Row(data, recipe, f"--examples {examples} --evaluations 1", divergence=divergence))
    return tuple(rows)


def carry_out(row: Row, seed: int, runs: Path) -> None:
    """Trains, or continues, one run in a process of its own; one that fails leaves no measurement."""
    folder = row.folder(runs, seed)
    asked = [*shlex.split(row.command), "--seed", str(seed), "--out", str(folder)]
    words = [sys.executable, "-m", "pushforward"]
    if (folder / "config.json").exists():
        made_by = json.loads((folder / "config.json").read_text(encoding="utf-8"))["command"]
        if _settings(shlex.split(made_by)) != _settings(asked):
            raise SystemExit(
                f"{folder} was made by `{made_by}`, not by `{shlex.join(asked)}`; remove it or name --runs"
            )
        if finished(folder):
            return
        words += ["resume", str(folder)]
    else:
        words += asked[1:]
    print(shlex.join(words), flush=True)
    # A run that diverges must not cost the others theirs: its cell says that it has no measurement.
    status = subprocess.run(words, check=False).returncode
    if status == 130:
        raise KeyboardInterrupt
    if status:
        print(f"{folder} ended with status {status}: no measurement", file=sys.stderr, flush=True)


def _settings(words: list[str]) -> list[str]:
    """A command without where it wrote: a folder may have been moved."""
    return words[: words.index("--out")] + words[words.index("--out") + 2 :] if "--out" in words else words


def last(folder: Path) -> dict[str, dict[str, float | None]] | None:
    """The measurements of a finished run, or None."""
    rows = runlog.rows(folder / "metrics.jsonl")
    return rows[-1]["metrics"] if rows and not rows[-1]["quick"] else None


def finished(folder: Path) -> bool:
    return last(folder) is not None


def spread(values: list[float]) -> str:
    """mean ± standard deviation over seeds."""
    return f"{mean(values):.3g} ± {stdev(values):.2g}" if len(values) > 1 else f"{values[0]:.3g}"


def _value(measured: dict[str, float | None]) -> float:
    value = measured["value"]
    return math.nan if value is None else float(value)


def cell(name: str, runs: list[dict[str, dict[str, float | None]]]) -> str:
    """One metric over seeds: Fréchet distances and W2 as multiples of the floor, the rest as they are."""
    if name not in runs[0]:
        return ""
    values = [_value(run[name]) for run in runs]
    floors = [run[name]["floor"] for run in runs]
    floor = mean([f for f in floors if f is not None])
    if name.startswith("frechet") or name == "w2":
        return (
            f"**{spread([v / f for v, f in zip(values, floors, strict=True) if f])} ×** ({spread(values)}; {floor:.3g})"
        )
    if name == "modes":
        return f"{', '.join(f'{v:.0f}' for v in values)} ({floor:.0f})"
    return f"{spread(values)} ({floor:.3g})"


def table(runs: Path, rows: tuple[Row, ...]) -> str:
    """Markdown: a table for each data set, of the rows that have finished runs."""
    parts = []
    for data in dict.fromkeys(row.data for row in rows):
        found = [(row, [m for s in row.seeds if (m := last(row.folder(runs, s)))]) for row in rows if row.data == data]
        found = [(row, measured) for row, measured in found if measured]
        if not found:
            continue
        names = list(dict.fromkeys(name for _, measured in found for name in measured[0]))
        lines = [f"### {data}", "", "| recipe | seeds | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
        for row, measured in found:
            cells = [cell(name, measured) for name in names]
            lines.append(f"| `{row.name}` | {len(measured)} | " + " | ".join(cells) + " |")
        n = {name: int(found[0][1][0][name]["n"] or 0) for name in found[0][1][0]}
        lines += ["", "Samples a side: " + ", ".join(f"{name} {count:,}" for name, count in n.items()) + ".", ""]
        lines += ["```", *(row.command + " --seed S" for row, _ in found), "```", ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def wide(runs: Path, rows: tuple[Row, ...]) -> str:
    """Markdown: one table, a row for each objective, with the main numbers on each data set beside each other."""
    shown = [
        (data, metric)
        for data in dict.fromkeys(row.data for row in rows)
        for metric in (("frechet",) if data == "digits" else ("modes", "high_quality", "w2"))
    ]
    names = {"frechet": "Fréchet", "modes": "modes", "high_quality": "high quality", "w2": "W2"}
    heads = ["objective", *(f"{data} {names[metric]}" for data, metric in shown)]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in dict.fromkeys(row.name for row in rows):
        cells = []
        for data, metric in shown:
            row = next(r for r in rows if (r.name, r.data) == (name, data))
            found = [m for s in row.seeds if (m := last(row.folder(runs, s))) and metric in m]
            missing = f" ({len(found)} of {len(row.seeds)})" if len(found) < len(row.seeds) else ""
            cells.append(brief(metric, found) + missing if found else "")
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def brief(metric: str, runs: list[dict[str, dict[str, float | None]]]) -> str:
    """mean ± standard deviation: multiples of the floor for Fréchet distances and W2, per cent for high quality."""
    values = [_value(run[metric]) for run in runs]
    if metric in ("frechet", "w2"):
        floors = [float(run[metric]["floor"] or math.nan) for run in runs]
        return f"{spread([v / f for v, f in zip(values, floors, strict=True)])} ×"
    if metric == "modes":
        return ", ".join(f"{v:.0f}" for v in values)
    return f"{spread([100 * v for v in values])} %"


TABLES = {"results": (ROWS, table), "objectives": (compared(), wide), "few": (FEW, table)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=Path, default=ROOT / "runs" / "quality", help="where the run folders are, by table"
    )
    parser.add_argument("--only", nargs="*", default=[], help="data sets or recipes to keep")
    parser.add_argument("--of", choices=TABLES, default="results", help="which table")
    parser.add_argument("--part", default="0/1", help="i/k: every k-th run from the i-th, for k processes side by side")
    parser.add_argument("--table", action="store_true", help="print the table of what is there and train nothing")
    parser.add_argument("--out", type=Path, help="write the table to this file, between its two marks")
    asked = parser.parse_args()
    every, layout = TABLES[asked.of]
    # Each table's runs for themselves: rows of the same name differ in their options.
    runs = asked.runs / asked.of
    rows = tuple(r for r in every if not asked.only or r.data in asked.only or r.recipe in asked.only)
    if not asked.table:
        part, parts = (int(n) for n in asked.part.split("/"))
        # All rows of one seed before the next: a table cut short still compares like with like.
        seeds = sorted({seed for row in rows for seed in row.seeds})
        jobs = [(row, seed) for seed in seeds for row in rows if seed in row.seeds]
        for i, (row, seed) in enumerate(jobs):
            if i % parts == part:
                carry_out(row, seed, runs)
    text = layout(runs, rows)
    if asked.out:
        put(asked.out, "quality", text)
    else:
        print(text)


if __name__ == "__main__":
    main()
