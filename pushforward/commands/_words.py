"""What commands share: options from words, and tables."""

import contextlib
import difflib
import io
import itertools
import re
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

if TYPE_CHECKING:
    from pushforward.evaluation import Measurement


T = TypeVar("T")


def parse(kind: type[T], arguments: list[str], program: str) -> T:
    """tyro, with its page-wide errors folded into one line. Help is printed, and leaves with status 0."""
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            return tyro.cli(kind, args=arguments, prog=program)
    except SystemExit as leaving:
        if leaving.code in (0, None):
            raise
    lines = _lines(output.getvalue())
    first = lines[: lines.index("")] if "" in lines else lines
    # What is missing is named by a line of its own, with its help behind it; an error may take several lines.
    message = " ".join(first[:2] if first[0].endswith(":") else first)
    message = re.sub(r"^Error parsing (experiment|recipe|run|data): ", "", message)
    meant = _meant(lines) or _meant(_lines(_refusal(kind, _apart(arguments), program)))
    raise ValueError(message + (f"; did you mean {meant}?" if meant else f"; see {program} --help"))


def _lines(output: str) -> list[str]:
    """What an error says, without its frame; under its title, parts with empty lines between them."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", output)
    # A terminal may draw the rules between parts with other characters, and no sides.
    lines = [re.sub(r"^[─-]+$", "", line.strip("│├┤╭╮╰╯|+ ")) for line in plain.splitlines()[1:]]
    return list(itertools.dropwhile(lambda line: not line, lines))


def _meant(lines: list[str]) -> str | None:
    """The option that an error's words are near to, of the first that it doesn't know."""
    near = [i for i, line in enumerate(lines[:-1]) if line.startswith(("Perhaps you meant", "Arguments similar to"))]
    if not near:
        return None
    # A switch stands there with its opposite: `--mirror, --no-mirror`.
    below = lines[near[0] + 1].split()
    names = [word.rstrip(",") for word in below if word.startswith("-")] or below[:1]
    typed = next(iter(re.findall(r"--?[\w-]+", lines[0])), lines[0])
    return difflib.get_close_matches(typed, names, 1, 0.0)[0]


def _apart(arguments: list[str]) -> list[str]:
    """`--widht=3` as `--widht 3`, for which alone tyro looks for what was meant."""
    return [part for word in arguments for part in (word.split("=", 1) if word[:2] == "--" else [word])]


def _refusal(kind: type[Any], arguments: list[str], program: str) -> str:
    """What tyro says against these words; nothing where it takes them."""
    output = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(output), contextlib.redirect_stdout(io.StringIO()):
        tyro.cli(kind, args=arguments, prog=program)
    return output.getvalue()


def early(arguments: list[str], option: str) -> str | None:
    """The value of `--option value` or `--option=value`, before the real parser has looked."""
    for i, word in enumerate(arguments):
        if word.startswith(f"{option}="):
            return word.removeprefix(f"{option}=")
        if word == option and i + 1 < len(arguments):
            return arguments[i + 1]
    return None


def table_of(numbers: "dict[str, Measurement]") -> None:
    from rich.console import Console
    from rich.table import Table

    from pushforward.metrics.catalogue import known

    table = Table("metric", "value", "95 % interval", "floor", "× floor", "n")
    for name, m in numbers.items():
        interval = "" if m.low is None or m.high is None else f"{m.low:.4g} – {m.high:.4g}"
        floor = "" if m.floor is None else f"{m.floor:.4g}"
        # An unbiased estimate's floor is 0 but for chance: no multiple of it says anything.
        metric = known(name)
        unbiased = metric is not None and metric.range.startswith("about 0")
        times = f"{m.value / m.floor:.2f}" if m.floor and not unbiased else ""
        table.add_row(name, f"{m.value:.4g}", interval, floor, times, f"{m.n:,}")
    Console().print(table)
