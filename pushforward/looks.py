"""What is measured along a run, as `--evaluate` asks for it."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from pushforward.metrics.catalogue import METRICS, known, unknown
from pushforward.spaces import NAMES


@dataclass(frozen=True)
class Looks:
    """every: examples between two looks; None leaves it to the number of them. features, metrics, n: see `Evaluator`.

    n is of the measurement at the end; along the way it is 1,000 at most.
    best: the measurement whose best value marks the best checkpoint; None for the first that there is of Fréchet
    distance and W2.
    """

    every: int | None = None
    features: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    n: int | None = None
    best: str | None = None

    @property
    def sign(self) -> int:
        """1 where less of `best` is better, −1 where more is."""
        metric = None if self.best is None else known(self.best)
        return -1 if metric is not None and metric.better.startswith("higher") else 1


def looks(words: Sequence[str]) -> Looks:
    """From words such as `every=20000`, `features=inception`, `metrics=kid,recall`, `best=kid_inception`.

    Raises ValueError, naming the word, for one that is not known.
    """
    given: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value or key not in ("every", "features", "metrics", "n", "best"):
            raise ValueError(f"evaluate takes every=N, features=…, metrics=…, n=N and best=…, got {word!r}")
        if key in given:
            raise ValueError(f"evaluate takes {key} once, got {key}={given[key]} and {word}")
        given[key] = value
    counts: dict[str, int | None] = {}
    for key in ("every", "n"):
        value = given.get(key)
        if value is not None and (not value.isdigit() or int(value) < 1):
            raise ValueError(f"{key} is a number of examples, got {value!r}; e.g. every=20000 n=2000")
        counts[key] = None if value is None else int(value)
    features, metrics = (tuple(given.get(name, "").replace(",", " ").split()) for name in ("features", "metrics"))
    for name in features:
        if name not in NAMES and not name.endswith(".pt2"):
            near = difflib.get_close_matches(name, NAMES, n=1)
            raise ValueError(f"no features are called {name!r}{f'; did you mean {near[0]}?' if near else ''}")
    for name in metrics:
        if name not in METRICS:
            raise ValueError(unknown(name))
    best = given.get("best")
    if best is not None and known(best) is None:
        raise ValueError(unknown(best))
    return Looks(counts["every"], features, metrics, counts["n"], best)
