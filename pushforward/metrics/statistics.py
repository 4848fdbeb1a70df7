"""A Gaussian's mean and covariance on disk, under the names that the field's tools read and write."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.moments import Gaussian, from_moments


@dataclass(frozen=True)
class Statistics:
    """A Gaussian, and which features it is of: the extractor's name and the hash of its weights, "" if unknown."""

    gaussian: Gaussian
    features: str = ""
    digest: str = ""


def save_statistics(path: Path | str, gaussian: Gaussian, features: str = "", digest: str = "") -> None:
    """Writes `mu` [D] and `sigma` [D, D], float64, with `n`, `features` and `digest`, as .npz; whole or not at all.

    pytorch-fid and clean-fid read such a file. Raises ValueError for another ending or a folder that isn't there.
    """
    path = Path(path)
    if path.suffix != ".npz" or not path.parent.is_dir():
        raise ValueError(f"statistics go to a file .npz in a folder that exists, got {path}; make the folder")
    # Written beside and renamed: a reader finds the old file or the new one, never a part.
    beside = path.with_name(f".{path.stem}-{os.getpid()}.npz")
    try:
        with beside.open("wb") as file:
            np.savez(
                file,
                mu=gaussian.mean,
                sigma=gaussian.covariance,
                n=np.array(gaussian.n),
                features=np.array(features),
                digest=np.array(digest),
            )
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load_statistics(path: Path | str, features: str = "", digest: str = "") -> Statistics:
    """The inverse of `save_statistics`; files of other tools, with `mu` and `sigma` alone, have n = 0: unknown.

    Without n there is no interval and no word on the bias. features, digest: what they must be, where they are given
    here and known in the file. A covariance saved in float32 is read with that rounding in mind.
    Raises ValueError, in one line with the file's name, for a file that is missing, damaged, or of other features.
    """
    path = Path(path)
    try:
        # Opened here: of a damaged file NumPy would leave the closing to chance.
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            found = {name: np.asarray(file[name]) for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"statistics must be a file, got {path}, which is not there; compute them anew") from None
    except Exception as error:  # damaged archives raise nearly every type there is from within NumPy and zipfile
        raise ValueError(f"statistics must be a whole .npz, got {path} ({_line(error)}); compute them anew") from None
    try:
        gaussian = _checked(found)
        names = {name: str(found[name]) if name in found else "" for name in ("features", "digest")}
    except ValueError as error:
        raise ValueError(f"{path}: {_line(error)}") from None
    for name, asked in (("features", features), ("digest", digest)):
        if asked and names[name] and asked != names[name]:
            raise ValueError(f"{path} must be of the {name} {asked!r}, got {names[name]!r}; compute them anew")
    return Statistics(gaussian, names["features"], names["digest"])


def _checked(found: dict[str, NDArray]) -> Gaussian:
    missing = [name for name in ("mu", "sigma") if name not in found]
    if missing:
        raise ValueError(f"statistics must have mu and sigma, got {sorted(found)}; compute them anew")
    mu, sigma, n = found["mu"], found["sigma"], found.get("n", np.array(0))
    d = mu.size
    if mu.shape != (d,) or d == 0 or sigma.shape != (d, d) or n.shape != () or n.dtype.kind not in "iu" or n < 0:
        got = f"{mu.shape}, {sigma.shape} and {n.dtype}{n.shape}"
        raise ValueError(f"mu, sigma and n must be [D], [D, D] and a whole number, got {got}; compute them anew")
    if any(a.dtype.kind != "f" or not np.isfinite(a).all() for a in (mu, sigma)):
        raise ValueError("mu and sigma must be finite floats, got others, NaN or infinity; compute them anew")
    tolerance = float(np.finfo(np.promote_types(sigma.dtype, np.float32)).eps)
    return from_moments(int(n), mu.astype(np.float64), sigma.astype(np.float64), tolerance)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
