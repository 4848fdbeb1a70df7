"""Weights: in a file, in the cache or, if asked for, at their published address; checked, and read as tensors alone."""

import hashlib
import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pushforward.data.cache import cache_folder, cached

Tell = Callable[[int, int | None], None]  # (bytes so far, bytes in all if known)
CHUNK = 1 << 20
PATIENCE = 60.0  # seconds without a byte


@dataclass(frozen=True)
class Published:
    """One file of weights as its authors publish it; sha256 as published beside it or by those who use it."""

    url: str
    sha256: str

    @property
    def file(self) -> str:
        return self.url.rsplit("/", 1)[-1]


# The authors publish no digests, but for the first eight digits in the name of Inception's file, which torch-fidelity
# publishes too, bytes for bytes. These are the ones that projects which pin the files agree on.
PUBLISHED = {
    "inception": Published(
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    ),
    "dinov2": Published(
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
        "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428",
    ),
    "dinov2-b": Published(
        "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
        "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73",
    ),
    "clip": Published(
        "https://huggingface.co/openai/clip-vit-base-patch32/resolve/main/pytorch_model.bin",
        "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
    ),
    "clip-l": Published(
        "https://huggingface.co/openai/clip-vit-large-patch14/resolve/main/model.safetensors",
        "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb",
    ),
}


@dataclass(frozen=True)
class Found:
    """A file of weights and its SHA-256, in hexadecimal."""

    path: Path
    sha256: str


def find(name: str, file: Path | None = None, download: bool = False, tell: Tell | None = None) -> Found:
    """The weights of the network `name`: `file` if given, else the cache's copy, else, only if `download`, fetched.

    The cache's copy, fetched or put there by hand, must have the published digest; a file that the user names may be
    any, and its digest tells the difference in every result. tell: called with the bytes so far and in all.
    Raises ValueError, in one line that says which file to put where, if there is none or it cannot be fetched.
    """
    if name not in PUBLISHED:
        raise ValueError(f"weights are published for {', '.join(PUBLISHED)}, got {name!r}; name a file of your own")
    source = PUBLISHED[name]
    if file is not None:
        if not file.is_file():
            raise ValueError(f"the weights of {name} must be a file, got {file}; give the path of {source.file}")
        return Found(file, digest_of(file))
    root = cache_folder() / "weights"
    path = root / name / source.file
    remedy = f"put {source.url} at {path}"
    if not path.is_file():
        if not download:
            raise ValueError(
                f"the weights of {name} are not there: run `pushforward evaluate A B --features {name} --download` "
                f"once, or {remedy}; evaluate also takes a copy of them by --weights FILE"
            )
        ways = f"{remedy}, or name a copy with --weights FILE"
        cached(root, name, lambda partial: fetch(source, partial / source.file, ways, tell))
        if not path.is_file():
            raise ValueError(f"{path.parent} must hold {source.file}, got other files; remove the folder, or {remedy}")
    found = Found(path, digest_of(path))
    if found.sha256 != source.sha256:
        raise ValueError(f"{path} must have the SHA-256 {source.sha256}, got {found.sha256}; remove it, then {remedy}")
    return found


def fetch(source: Published, target: Path, remedy: str, tell: Tell | None = None) -> None:
    """Downloads to `target`, in pieces, and checks length and SHA-256.

    Raises ValueError, ending in `remedy`, if the server cannot be reached, answers with an error, stops early or gives
    other bytes; what then lies at `target` is for the caller to remove.
    """
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(source.url, timeout=PATIENCE) as answer, open(target, "wb") as file:
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            while piece := answer.read(CHUNK):
                file.write(piece)
                digest.update(piece)
                done += len(piece)
                if tell is not None:
                    tell(done, total)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # the answer, with its socket
        reason = getattr(error, "reason", None) or error
        raise ValueError(f"cannot download {source.url}: {reason}; try again, or {remedy}") from error
    if total is not None and done != total:
        raise ValueError(f"{source.url} must give {total} bytes, got {done} before it stopped; try again, or {remedy}")
    if digest.hexdigest() != source.sha256:
        wanted, got = source.sha256, digest.hexdigest()
        raise ValueError(f"{source.url} must have the SHA-256 {wanted}, got {got}; nothing is kept: {remedy}")


def digest_of(path: Path) -> str:
    """A file's SHA-256, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a torch checkpoint, zipped or older, by name, on the CPU.

    A checkpoint is read with `weights_only`, which builds tensors and runs nothing that the file says.
    Raises ValueError for a damaged file and for one that holds more than tensors by name.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file, got a damaged one ({error}); fetch it again") from error
    except Exception as error:  # torch raises whatever the damage leads to: EOFError, KeyError, RuntimeError, …
        reason = str(error).strip().split("\n")[0][:120]
        raise ValueError(
            f"{path} must be a torch checkpoint of tensors alone, got {type(error).__name__}: {reason}; "
            "fetch it again, or convert it to .safetensors"
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise ValueError(f"{path} must hold tensors by name, got other things too; save the network's state_dict alone")
    return {str(name): value for name, value in tensors.items()}


def taken(tensors: dict[str, Tensor], name: str, shape: tuple[int | None, ...], remedy: str) -> Tensor:
    """The tensor `name` in float32, its shape checked (None: any). Raises ValueError, ending in `remedy`."""
    if name not in tensors:
        raise ValueError(f"the weights must have {name}, got {len(tensors)} tensors without it; {remedy}")
    x = tensors[name]
    if x.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, x.shape, strict=True)):
        raise ValueError(f"{name} must have the shape {shape}, got {tuple(x.shape)}; {remedy}".replace("None", "any"))
    return x.float()
