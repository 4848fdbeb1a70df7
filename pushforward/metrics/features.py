"""What every metric takes: a matrix of features, one row an example, checked once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.floating[Any]]
Features = Tensor | NDArray[Any]


def as_matrix(x: Features, name: str, least: int = 1) -> Matrix:
    """`x` as a NumPy matrix [N, D]: float64 stays, all else becomes float32 or, for wide integers, float64.

    name: what the errors call it. least: the fewest rows that make sense.
    Raises ValueError for another shape, too few rows, or a value that is not finite.
    """
    a = x.detach().cpu() if isinstance(x, Tensor) else np.asarray(x)
    if isinstance(a, Tensor):
        a = (a.float() if a.is_floating_point() and a.element_size() < 4 else a).numpy()
    if a.ndim != 2 or a.shape[1] == 0:
        raise ValueError(f"{name} must be a matrix [N, D], D >= 1, got the shape {tuple(a.shape)}; flatten the rows")
    if len(a) < least:
        raise ValueError(f"{name} must have at least {least} rows, got {len(a)}; give more samples")
    if a.dtype.kind not in "fiu":
        raise ValueError(f"{name} must be real numbers, got {a.dtype}; convert to float32")
    if a.dtype not in (np.float32, np.float64):
        a = a.astype(np.float32 if a.dtype.itemsize < 4 else np.float64)
    # A sum is finite exactly when its terms are, and needs no second array of the size of the first.
    with np.errstate(over="ignore", invalid="ignore"):
        total = a.sum(dtype=np.float64)
    if not np.isfinite(total):
        bad = np.flatnonzero(~np.isfinite(a).all(axis=1))
        if len(bad):
            raise ValueError(f"{name} must be finite, got NaN or inf in {len(bad)} of {len(a)} rows (first {bad[0]})")
    return a


def same_width(x: Matrix, y: Matrix, names: tuple[str, str] = ("x", "y")) -> None:
    """Raises ValueError unless the two have as many features."""
    if x.shape[1] != y.shape[1]:
        got = f"{x.shape[1]} and {y.shape[1]}"
        raise ValueError(f"{names[0]} and {names[1]} must have as many features, got {got}; use one extractor")
