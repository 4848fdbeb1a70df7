"""The course of one training run: what is logged, pictured, measured and saved on the way, and how it ends."""

import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pushforward import exhibits, sampling
from pushforward.core import runlog
from pushforward.core.checkpoint import write_text
from pushforward.core.engine import Engine
from pushforward.core.training import Hook, Outcome, fit
from pushforward.data.catalogue import Options
from pushforward.data.images import of_data
from pushforward.data.source import Data
from pushforward.evaluation import AGAINST, Evaluator
from pushforward.looks import looks
from pushforward.progress import Progress
from pushforward.run import Plan, Run, measure
from pushforward.spaces import encoder_for

PICTURED = {"images": 64, "points": 1000}


class Course:
    """Carries a run to its end. Only the first process writes."""

    def __init__(self, run: Run, engine: Engine, data: Data, plan: Plan, evaluator: Evaluator) -> None:
        self.run_folder, self.engine, self.data, self.plan = run.folder, engine, data, plan
        self.checkpoints = run.checkpoints
        self.first = engine.world.first
        self.looks = looks(plan.options.evaluate)
        self.evaluator = evaluator
        last = self.checkpoints.last()
        self.saved = None if last is None else (int(last.name), self.checkpoints.score(last))
        """Examples seen at the newest checkpoint, and its score."""
        self.scored = self.saved
        """Examples seen at the last quick evaluation, and its score."""
        game = engine.game
        n = PICTURED[data.spec.kind]
        self.latents = sampling.latents(n, game.latent, plan.options.seed)
        self.classes = None if game.classes is None else sampling.classes_in_turn(n, game.classes)
        rows = runlog.rows(run.folder / "stats.jsonl")
        self.seconds_before = rows[-1]["seconds"] if rows else 0.0

    def run(self, examples: int) -> Outcome:
        """Trains to `examples` seen; then measures, pictures and reports, unless it was stopped on the way."""
        options, planned = self.plan.options, self.plan.config["examples"]

        def every(times: int) -> int:
            return max(planned // times, 1)

        hooks = [Hook(every(options.ticks), self.log), Hook(every(options.pictures), self.picture)]
        if options.evaluations or self.looks.every:
            hooks.append(Hook(self.looks.every or every(options.evaluations), self.measure))
        hooks.append(Hook(every(options.checkpoints), self.save))
        self.began = time.monotonic()
        seen = self.engine.clock.seen
        with Progress(self.plan, seen, examples, quiet=not self.first) as self.progress:
            with interruptible() as stop:
                if seen == 0:
                    self.picture(self.engine)
                    self.save(self.engine)
                outcome = fit(
                    self.engine, examples=examples, hooks=hooks, minutes=options.minutes, stopping=stop.is_set
                )
                self.save(self.engine)
            if stop.is_set():
                outcome = "stopped"
            # All that follows can be done again by `resume`: here Ctrl-C stops at once.
            if outcome != "stopped" and self.first:
                self.conclude()
            self.progress.end(outcome, self.engine.clock.seen)
        return outcome

    def log(self, engine: Engine) -> None:
        engine.check()
        means = engine.scalars.flush()
        if self.first and means:
            finite = {name: value if math.isfinite(value) else None for name, value in means.items()}
            seconds = round(self.seconds_before + time.monotonic() - self.began, 3)
            row = {"seen": engine.clock.seen, "round": engine.clock.round, "seconds": seconds}
            runlog.append(self.run_folder / "stats.jsonl", row | finite)
            self.progress.update(engine.clock.seen, means)

    def picture(self, engine: Engine) -> None:
        if self.first:
            x = sampling.generate(engine.game, self.latents, self.classes, engine.device)
            exhibits.write_samples(self.run_folder, engine.clock.seen, x, self.classes, self.data)

    def measure(self, engine: Engine) -> None:
        if self.first:
            self._record(quick=True)
        self.save(engine)  # the best is among those that were measured, whenever checkpoints are due

    def save(self, engine: Engine) -> None:
        self.log(engine)
        engine.average_buffers()
        seen = engine.clock.seen
        now = (seen, self.scored[1] if self.scored and self.scored[0] == seen else None)
        if self.first and now != self.saved:
            self.checkpoints.save(engine.state_dict(), *now)
            self.saved = now

    def conclude(self) -> None:
        """The final measurements, what the report shows of them, and the report."""
        from pushforward.report import write_report

        if self.plan.options.measure:
            self.progress.say("measuring samples against the data, and real against real")
            self._record(quick=False)
        classify = self.evaluator.classify if self.plan.options.measure else None
        exhibits.write_exhibits(
            self.run_folder, self.engine.game, self.data, self.engine.device, self.plan.options.seed, classify
        )
        write_report(self.run_folder)

    def _record(self, quick: bool) -> None:
        seen = self.engine.clock.seen
        measurements = measure(self.engine.game, self.evaluator, self.engine.device, quick)
        numbers = {name: dataclasses.asdict(m) for name, m in measurements.items()}
        log = self.run_folder / "metrics.jsonl"
        # A finished run that is resumed measures again, and says so once.
        kept = [row for row in runlog.rows(log) if (row["seen"], row["quick"]) != (seen, quick)]
        kept.append({"seen": seen, "quick": quick, "metrics": numbers})
        write_text(log, "".join(json.dumps(row) + "\n" for row in kept))
        first = ("frechet", "w2", *(f"frechet_{name}" for name in self.looks.features), *measurements)
        key = self.looks.best or next(name for name in first if name in measurements)
        if quick:
            self.scored = (seen, self.looks.sign * measurements[key].value)
        self.progress.measured(measurements, key)


def evaluator_for(plan: Plan, data: Data, device: torch.device) -> Evaluator:
    """What will measure the run. Made first: what keeps a network from being had is said before anything is written."""
    asked = looks(plan.options.evaluate)
    data = plan.data_options.reference(plan.data, data, progress=False)
    encoders = []
    if asked.features:
        reals = of_data(data, plan.data, Options(progress=False))
        encoders = [encoder_for(name, reals, device=device) for name in asked.features]
    if unknown := [name for name in asked.metrics if name not in AGAINST]:
        raise ValueError(f"along a run are measured {', '.join(AGAINST)}, got {unknown[0]}; use pushforward evaluate")
    evaluator = Evaluator(data, n=asked.n, encoders=encoders, metrics=asked.metrics)
    if asked.best not in (None, *evaluator.names):
        raise ValueError(f"best={asked.best} is not measured here; choose one of {', '.join(evaluator.names)}")
    return evaluator


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or a polite kill sets, instead of stopping at once; the second Ctrl-C stops at once.

    Not the second polite kill, as systems and parents send theirs side by side.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
