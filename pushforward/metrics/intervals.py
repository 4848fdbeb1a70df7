"""95 % intervals that more than one metric needs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Z = 1.959963984540054  # the 97.5 % point of the normal law


@dataclass(frozen=True)
class Interval:
    """An estimate, its standard error, and the ends of its 95 % interval."""

    value: float
    stderr: float
    low: float
    high: float


def wilson(hits: int, n: int) -> Interval:
    """A share of independent yes-or-no trials; Wilson's score interval, sound at 0 and 1 too.

    Wilson 1927, J. Am. Stat. Assoc. 22, p. 209. Raises ValueError unless 0 <= hits <= n and n >= 1.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"a share needs 0 <= hits <= n and n >= 1, got {hits} of {n}; count again")
    return wilson_share(hits / n, n)


def wilson_share(p: float, size: float) -> Interval:
    """The same of a share p, 0 to 1, of an effective number of trials, which need not be whole."""
    z2 = Z * Z
    middle = (p + z2 / (2 * size)) / (1 + z2 / size)
    half = Z / (1 + z2 / size) * float(np.sqrt(p * (1 - p) / size + z2 / (4 * size * size)))
    # At the ends the bound is the end itself; rounding would leave 1e-20 there.
    low, high = (0.0 if p == 0 else middle - half), (1.0 if p == 1 else middle + half)
    return Interval(p, float(np.sqrt(p * (1 - p) / size)), low, high)


def mean_interval(values: NDArray[np.float64] | list[float]) -> Interval:
    """The mean of two or more independent values, with Student's t."""
    v = np.asarray(values, np.float64)
    if v.ndim != 1 or len(v) < 2:
        raise ValueError(f"the interval of a mean needs a list of at least 2 values, got the shape {v.shape}")
    mean, stderr = float(v.mean()), float(v.std(ddof=1) / np.sqrt(len(v)))
    half = student(len(v) - 1) * stderr
    return Interval(mean, stderr, mean - half, mean + half)


def trimmed_interval(values: NDArray[np.float64] | list[float], cut: int) -> Interval:
    """The mean without the `cut` lowest and the `cut` highest of independent values, N >= 2 cut + 2.

    The interval is of the trimmed mean of the law: Student's t, N − 2 cut − 1 degrees of freedom, on the standard
    deviation of the values with the cut ones moved to the nearest kept one. Tukey & McLaughlin 1963, Sankhyā A 25.
    """
    v = np.sort(np.asarray(values, np.float64))
    if v.ndim != 1 or cut < 0 or len(v) < 2 * cut + 2:
        raise ValueError(f"a mean trimmed by {cut} at each end needs a list of {2 * cut + 2} values, got {v.shape}")
    n, kept = len(v), len(v) - 2 * cut
    mean = float(v[cut : n - cut].mean())
    stderr = float(v.clip(v[cut], v[n - cut - 1]).std(ddof=1) * np.sqrt(n) / kept)
    half = student(kept - 1) * stderr
    return Interval(mean, stderr, mean - half, mean + half)


def student(freedom: float) -> float:
    """The 97.5 % point of Student's t."""
    return float(special.stdtrit(freedom, 0.975))
