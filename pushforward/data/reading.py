"""Files of images read with care: what they hold by digest, why one can't be read, and when too many can't."""

import hashlib

from pushforward.data.catalogue import Options
from pushforward.data.listing import Files, shown
from pushforward.data.packing import counted, in_order

LISTED = 20  # bad files told on the screen


def digested(files: Files, names: list[str], options: Options) -> dict[str, str]:
    """SHA-256 of each file, or `! reason` for one that cannot be read."""

    def one(name: str) -> str:
        try:
            return hashlib.sha256(files.read(name)).hexdigest()
        except Exception as error:  # whatever keeps a file from being read makes it a bad one, not the end
            return f"! {reason(error)}"

    with counted("Reading", len(names), options.progress) as step:
        digests = {}
        for name, digest in zip(names, in_order(one, names), strict=True):
            digests[name] = digest
            step()
    return digests


def unchanged(files: Files, name: str, digest: str) -> bytes:
    """The file's bytes. Raises ValueError where they are not those that the cache's key was made of."""
    try:
        raw = files.read(name)
    except Exception:  # it could be read a moment ago
        raw = b""
    if hashlib.sha256(raw).hexdigest() != digest:
        raise ValueError(f"{shown(name)} changed while it was read; try again when its writer is done")
    return raw


def reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image"
    text = (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
    return shown(text.split("\n")[0])


def judge(place: str, total: int, skipped: tuple[str, ...], options: Options) -> None:
    """Raises ValueError where too few images are left, or too many are bad; else tells of the bad ones."""
    bad = len(skipped)
    first = ", ".join(skipped[:3]) + (", …" if bad > 3 else "")
    if bad == total:
        raise ValueError(f"none of the {total} images in {place} can be read: {first}")
    if bad > options.max_bad * total:
        raise ValueError(
            f"{bad} of {total} images in {place} cannot be read ({bad / total:.1%}, more than {options.max_bad:.1%}): "
            f"{first}; remove them, or allow more with --max-bad {_share(bad / total)}"
        )
    if total - bad < 2:
        raise ValueError(f"{total - bad} image in {place}; a data set has at least 2")
    if skipped and options.progress:
        from rich.console import Console

        console = Console(stderr=True)
        for line in skipped[:LISTED]:
            console.print(f"skipped {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)
        if bad > LISTED:
            console.print(f"skipped {bad - LISTED} more", style="yellow", markup=False, highlight=False)


def _share(share: float) -> str:
    """The share, rounded up to two digits after the point."""
    return f"{-(-share * 100 // 1) / 100:g}"
