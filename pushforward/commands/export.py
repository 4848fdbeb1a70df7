"""Takes a trained generator out of its run, and to the Hugging Face hub and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from pushforward.commands._words import parse


@dataclass(frozen=True)
class Export:
    """Write a run's generator into a folder of its own: tensors, what builds it, a picture and a model card."""

    run: Positional[Path]
    """The run folder."""
    out: Path | None = None
    """The folder to write, new or empty; RUN/generator by default."""
    format: tuple[Literal["safetensors", "onnx", "torch"], ...] = ("safetensors",)
    """In which formats; safetensors is always there, onnx and torch (a .pt2) need none of this project to be run."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint."""
    license: str | None = None
    """The license that the card states, e.g. mit or cc-by-4.0; by default none."""


@dataclass(frozen=True)
class Push:
    """Send an exported generator to the Hugging Face hub."""

    folder: Positional[Path]
    """What `pushforward export` wrote."""
    repo: Positional[str]
    """The repository, OWNER/NAME; made if there is none."""
    public: bool = False
    """Publish: a repository that is made is open to all, and one that is open already is written to."""


@dataclass(frozen=True)
class Pull:
    """Fetch an exported generator from the Hugging Face hub."""

    repo: Positional[str]
    """The repository, OWNER/NAME."""
    out: Path | None = None
    """The folder to write, new or empty; NAME by default."""
    revision: str | None = None
    """A branch, tag or commit; by default the newest."""


def do_export(arguments: list[str]) -> int:
    asked = parse(Export, arguments, "pushforward export")
    from pushforward.export.writing import export
    from pushforward.run import Run

    out = asked.out or asked.run / "generator"
    print(export(Run(asked.run), out, asked.format, checkpoint=asked.checkpoint, license=asked.license))
    return 0


def do_push(arguments: list[str]) -> int:
    asked = parse(Push, arguments, "pushforward push")
    from pushforward.export.hub import push

    print(push(asked.folder, asked.repo, public=asked.public))
    return 0


def do_pull(arguments: list[str]) -> int:
    asked = parse(Pull, arguments, "pushforward pull")
    from pushforward.export.hub import pull

    print(pull(asked.repo, asked.out or Path(asked.repo.split("/")[-1]), revision=asked.revision))
    return 0
