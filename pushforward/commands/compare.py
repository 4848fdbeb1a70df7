"""Trains recipes side by side and leaves one page."""

import dataclasses
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import OmitArgPrefixes, Positional

from pushforward.commands._words import early, parse

if TYPE_CHECKING:
    from pushforward.compare.plan import Comparison, Entry


@dataclass(frozen=True)
class Compare:
    """Train each recipe with each seed for the same time on the same machine, measure, and leave one page.

    A recipe may come with options of its own, in quotes: recipe options (`pushforward train sngan --help` lists them),
    --preset, --accumulate and --bf16. How much it trains, on what data and with which seeds is for the comparison:

    pushforward compare sngan "sngan --loss wasserstein --penalty gp" --data digits

    The same command again, or --out alone, goes on where a comparison was stopped; --add puts recipes into it.
    """

    recipes: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="RECIPE…")] = ()
    """Recipes by name or path; in quotes, with options."""
    data: str | None = None
    """A data set's name (see `pushforward list`), or a folder, .zip, .npy or .npz."""
    budget: str | None = None
    """Training time of each run, e.g. 30s, 10m or 2h; 10m by default."""
    examples: int | None = None
    """Examples that each run sees, in place of a budget of time."""
    seeds: int = 3
    """Runs of each recipe, with seeds 0, 1, …"""
    out: Path | None = None
    """The comparison's folder; runs/compare-DATA by default."""
    add: bool = False
    """Add the recipes to the comparison in --out, on its terms; what is finished there stays."""
    jobs: int = 1
    """Runs at once, each with its share of the processors."""
    evaluations: int = 8
    """Points of each curve."""
    features: str | None = None
    """What images are measured by, e.g. inception; by default what suits the data."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train."""
    resolution: int | None = None
    """Height and width of the images; by default the data's own, and 64 of a folder or .zip. Where images are
    resized, the middle square of oblong ones is taken."""
    channels: int | None = None
    """1 for grey, 3 for colour; None leaves the choice to the data."""
    max_bad: float = 0.01
    """Share of unreadable files above which a folder is refused."""
    limit: int | None = None
    """Train on so many of the examples, always the same ones; runs are measured against all of them."""
    mirror: bool = False
    """Mirror training images left to right, one in two; runs are measured against the images as they are."""


def do_compare(arguments: list[str]) -> int:
    asked = parse(Compare, arguments, "pushforward compare")
    command = shlex.join(["pushforward", "compare", *arguments])
    comparison, added, folder = _asked(asked, command)
    from pushforward.compare.lock import alone
    from pushforward.compare.plan import add_entries, keep_plan
    from pushforward.compare.runs import carry_out, failures, left
    from pushforward.compare.watch import Watch

    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        comparison = keep_plan(comparison, folder)
        if added:
            comparison = add_entries(added, command, folder)
        with Watch() as watch:
            watch.say(_announced(comparison, left(comparison, folder)))
            if failed := failures(comparison, folder):
                again = "to try them anew, remove these files, and the run folders beside them"
                watch.say(f"failed before, and not tried again: {', '.join(failed)}; {again}")
            done = carry_out(comparison, folder, watch)
        return _tell(comparison, folder, done)


def _asked(asked: Compare, command: str) -> "tuple[Comparison, tuple[Entry, ...], Path]":
    """The comparison, what is added to it, and its folder; all that can be refused without training is refused here."""
    if asked.add and not asked.recipes:
        raise ValueError("--add needs recipes to add, got none; name them, or leave out --add")
    if not asked.add and asked.recipes:
        comparison, folder = _comparison(asked, command)
        return comparison, (), folder
    comparison, folder = _begun(asked)
    return comparison, tuple(_entry(words, comparison.data) for words in asked.recipes), folder


def _given(asked: Compare, option: dataclasses.Field[Any]) -> bool:
    return getattr(asked, option.name) != option.default


def _begun(asked: Compare) -> "tuple[Comparison, Path]":
    """The comparison in --out, as this version would plan it and on this machine, and its folder."""
    from pushforward.compare.plan import machine, read_plan
    from pushforward.data.catalogue import open_data

    begun = None if asked.out is None else read_plan(asked.out)
    if asked.out is None or begun is None:
        needs = "--add needs the --out of a comparison"
        if not asked.add:
            needs = (
                "compare needs recipes, e.g. `pushforward compare dcgan r3gan --data digits --budget 10m`, or the "
                "--out of a comparison to go on with"
            )
        raise ValueError(needs + ("" if asked.out is None else f"; {asked.out} holds none"))
    mine = ("out", "add", "recipes")
    if others := [f.name for f in dataclasses.fields(asked) if _given(asked, f) and f.name not in mine]:
        raise ValueError(f"a comparison goes on as it was planned, got --{others[0]} too; leave it out")
    # Read anew, as its runs will be: data or a preset that have changed since are another plan.
    data = open_data(begun.data, **dataclasses.asdict(begun.data_options))
    entries = tuple(_entry(shlex.join([e.recipe, *e.words]), begun.data) for e in begun.entries)
    here = machine(begun.device, begun.jobs)
    return dataclasses.replace(begun, entries=entries, fingerprint=data.fingerprint, machine=here), asked.out


def _comparison(asked: Compare, command: str) -> "tuple[Comparison, Path]":
    """A new comparison, and its folder."""
    from pushforward.compare.plan import Comparison, machine, parse_budget
    from pushforward.data.catalogue import CATALOGUE, Options, open_data
    from pushforward.data.images import of_data
    from pushforward.evaluation import Evaluator
    from pushforward.looks import looks
    from pushforward.run import DataOptions
    from pushforward.spaces import encoder_for

    if asked.data is None:
        raise ValueError("compare needs --data, e.g. --data digits")
    if asked.budget is not None and asked.examples is not None:
        raise ValueError("a run ends by its --budget or by its --examples, got both; leave one out")
    seconds = None if asked.examples is not None else parse_budget(asked.budget or "10m")
    options = DataOptions(asked.resolution, asked.channels, asked.max_bad, asked.limit, asked.mirror)
    entries = tuple(_entry(words, asked.data) for words in asked.recipes)
    data = open_data(asked.data, **dataclasses.asdict(options))
    # What would keep each run from being measured is said before any begins.
    names = () if asked.features is None else looks((f"features={asked.features}",)).features
    reference = options.reference(asked.data, data)
    Evaluator(reference).check()
    for name in names:
        encoder_for(name, of_data(reference, asked.data, Options()))
    # A path as it is from anywhere, so that the comparison can go on from anywhere.
    known = asked.data in CATALOGUE
    comparison = Comparison(
        entries,
        asked.data if known else str(Path(asked.data).expanduser().absolute()),
        data.fingerprint,
        machine(asked.device, max(asked.jobs, 1)),
        seconds,
        asked.examples,
        asked.seeds,
        asked.jobs,
        asked.evaluations,
        asked.features,
        asked.device,
        options,
        command,
    )
    name = asked.data if known else Path(asked.data).expanduser().resolve().stem
    return comparison, asked.out or Path("runs") / f"compare-{name}"


def _entry(text: str, data: str) -> "Entry":
    """A recipe with the options that stand behind it, read as `pushforward train` reads them."""
    from pushforward import recipes, run
    from pushforward.compare.plan import Entry
    from pushforward.session import check_numbers, check_used

    recipe, *words = shlex.split(text) or [""]
    module = recipes.load(recipe)
    config = run.preset(module, early(words, "--preset"), run.kind_of(data), recipe)
    wanted = dataclasses.make_dataclass(
        "Options",
        [
            ("preset", str | None, field(default=None)),
            ("accumulate", int, field(default=1)),
            ("bf16", bool, field(default=False)),
            ("recipe", OmitArgPrefixes[type(config)], field(default=config)),
        ],
        frozen=True,
    )
    _refuse_outsiders(words, text)
    asked: Any = parse(wanted, words, f"pushforward train {recipe}")
    if asked.recipe.examples != config.examples:
        raise ValueError(f"the comparison decides how much {recipe} sees, got --examples in {text!r}; give it outside")
    check_numbers(asked.recipe)
    check_used(asked.recipe, config)
    return Entry(recipe, tuple(words), dataclasses.asdict(asked.recipe), asked.accumulate, asked.bf16)


def _refuse_outsiders(words: list[str], text: str) -> None:
    """Raises ValueError for an option of `pushforward train` that is not the recipe's, behind a recipe."""
    from pushforward.run import DataOptions, RunOptions

    own = {field.name for group in (RunOptions, DataOptions) for field in dataclasses.fields(group)} | {"data", "out"}
    instead = {"seed": "seeds", "minutes": "budget", "evaluate": "features"}
    for word in words:
        name = word.partition("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_")
        if word.startswith("--") and name in own - {"accumulate", "bf16"}:
            mine = instead.get(name, name) in {field.name for field in dataclasses.fields(Compare)}
            remedy = f"give --{instead.get(name, name)} outside the quotes" if mine else "leave it out"
            raise ValueError(f"{word.partition('=')[0]} is not the recipe's to decide, got {text!r}; {remedy}")


def _announced(comparison: "Comparison", left: int) -> str:
    """How much is to come, of the whole."""
    whole = len(comparison.entries) * comparison.seeds
    if not left:
        return f"no run is left to train, of {whole}"
    runs = f"{whole} run{'s'[: whole > 1]}" if left == whole else f"{left} of {whole} runs left,"
    if comparison.seconds is None:
        return f"{runs} of {comparison.examples:,} examples, {comparison.jobs} at once"
    minutes = -(-left // comparison.jobs) * comparison.seconds / 60
    each = f"{comparison.seconds:g} s of training"
    return f"{runs} of {each}, {comparison.jobs} at once: {minutes:.3g} min, and what measuring takes"


def _tell(comparison: "Comparison", folder: Path, done: bool) -> int:
    """Writes what the comparison leaves, and says where it is: the table on standard output, the rest beside it."""
    from pushforward.compare.record import write_record
    from pushforward.compare.results import markdown

    results = write_record(comparison, folder)
    if not done:
        print(f"stopped; continue with: pushforward compare --out {shlex.quote(str(folder))}", file=sys.stderr)
        return 130
    print(markdown(results), end="")
    for name in ("report.html", "compare.json", "table.md", "samples.png"):
        if (folder / name).exists():
            print(f"{name.split('.')[0]:10s}{folder / name}", file=sys.stderr)
    if not any(row.finished for row in results.rows):
        reason = next((run.reason for row in results.rows for run in row.runs if run.reason), "none was kept")
        raise ArithmeticError(f"no run finished; the first reason: {reason}")
    return 0
