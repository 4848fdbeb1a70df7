"""What a person sees while a run goes on: a bar on a terminal, a few lines elsewhere; all on standard error."""

from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from pushforward.core.training import Outcome
from pushforward.run import Plan

if TYPE_CHECKING:
    from pushforward.evaluation import Measurement


class Progress:
    """Shows how far a run is, its losses and its last measurements."""

    def __init__(self, plan: Plan, seen: int, examples: int, quiet: bool = False) -> None:
        self.examples, self.quiet = examples, quiet
        self.title = f"{plan.recipe} on {plan.data}"
        # No markup: a path may hold brackets.
        self.console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
        self.lines_at = 0.0
        self.score = ""
        self.bar = Bar(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}", markup=False),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self.task = self.bar.add_task(self.title, total=examples, completed=min(seen, examples), losses="")

    def __enter__(self) -> "Progress":
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def update(self, seen: int, means: dict[str, float]) -> None:
        """Examples seen so far, and the means of the logged scalars."""
        losses = "  ".join(f"{k.removesuffix('/loss')} {v:.3g}" for k, v in means.items() if k.endswith("/loss"))
        self.bar.update(self.task, completed=min(seen, self.examples), losses=f"{losses}  {self.score}")
        if not self.console.is_terminal and seen >= self.lines_at:
            self.console.print(f"{self.title}: {seen:,} of {self.examples:,} examples  {losses}  {self.score}")
            self.lines_at = seen + self.examples / 10

    def measured(self, measurements: "dict[str, Measurement]", key: str) -> None:
        """Remembers the main numbers for the line; key: the one that decides which checkpoint is the best."""
        shown = [n for n in dict.fromkeys((key, "frechet", "modes", "high_quality", "w2")) if n in measurements][:3]
        self.score = "  ".join(f"{name} {measurements[name].value:.4g}" for name in shown)

    def say(self, text: str) -> None:
        """One line of news."""
        self.console.print(f"{self.title}: {text}")

    def end(self, outcome: Outcome, seen: int) -> None:
        """The last line."""
        self.bar.update(self.task, completed=min(seen, self.examples))
        self.say(f"{outcome} after {seen:,} examples  {self.score}")
