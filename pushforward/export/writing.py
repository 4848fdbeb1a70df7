"""From a run to the folder of its generator: tensors, other formats, a picture, the card, and what they all are."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from pushforward import __version__, exhibits, pictures, sampling
from pushforward.core.game import Game
from pushforward.encoders.weights import digest_of
from pushforward.export import graph
from pushforward.export.card import card
from pushforward.export.folder import (
    ABOUT,
    CARD,
    ONNX,
    PICTURE,
    PROGRAM,
    TENSORS,
    VERSION,
    check_free,
    digests,
    plain_name,
    whole,
)
from pushforward.export.generator import Place, alone, example, load_generator, places, save_tensors
from pushforward.export.program import save_program, traced
from pushforward.run import Run

Format = Literal["safetensors", "onnx", "torch"]
ROWS, COLUMNS, MOST_COLUMNS, POINTS = 6, 8, 16, 4000


def export(
    run: Run,
    out: str | Path,
    formats: Sequence[Format] = ("safetensors",),
    *,
    checkpoint: Literal["last", "best"] = "last",
    license: str | None = None,
) -> Path:
    """Writes the generator of `run` into the new folder `out`, and returns it: there whole, or not at all.

    It always holds safetensors and JSON, that `load_generator` reads, a picture and the card; formats: what else. All
    are of the networks that the run's samples come from (averages, where there are any), in eval mode, on the CPU.
    license: an identifier such as "mit", which the card then bears; None leaves it to the reader to ask.
    Raises ValueError where `out` is taken, a library is missing, or what was written does not make the run's samples.
    """
    folder = Path(out)
    check_free(folder)
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", license):
        raise ValueError(
            f"a license is an identifier such as mit or cc-by-4.0, got {license!r}; write its text by hand"
        )
    if "onnx" in formats:
        graph.check_libraries()
    path = run.checkpoint(checkpoint)
    game = run.game(checkpoint, "cpu")
    where = places(game)
    about = describe(run, game, where, int(path.name))
    with whole(folder) as beside:
        save_tensors(beside / TENSORS, game, where)
        if "onnx" in formats or "torch" in formats:
            program = traced(game, where)
            if "torch" in formats:
                save_program(beside / PROGRAM, program, game)
            if "onnx" in formats:
                told = {key: about[key] for key in ("recipe", "classes", "scale", "seen", "pushforward")}
                graph.save_graph(beside / ONNX, program, game, told | {"labels": about["data"]["labels"]})
        _picture(beside / PICTURE, run, game)
        about["files"] = digests(beside)
        (beside / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        _check(beside, run, game)
        (beside / CARD).write_text(card(run, about, license), encoding="utf-8")
    return folder


def describe(run: Run, game: Game, where: dict[str, Place], seen: int) -> dict[str, Any]:
    """What `generator.json` holds, but for the files: all that it takes to build the networks, and where they are from.

    Paths are cut to their last part: a generator that is handed on should not say where its maker worked.
    """
    config, data, recipe = run.config, run.config["data"], run.config["recipe"]
    own = recipe.endswith(".py")
    return {
        "format": VERSION,
        "recipe": plain_name(recipe),
        "recipe_sha256": digest_of(Path(recipe)) if own else None,
        "config": config["config"],
        "data": {
            "name": plain_name(data["name"]),
            "fingerprint": data["fingerprint"],
            "spec": data["spec"],
            "labels": data["labels"],
            "limit": run.plan.data_options.limit,
            "mirror": run.plan.data_options.mirror,
        },
        "latent": list(game.latent),
        "classes": game.classes,
        "scale": run.law.scale if run.law is not None else None,
        "networks": {name: asdict(place) for name, place in where.items()},
        "alone": alone(game, where) is not None,
        "seen": seen,
        "seed": run.plan.options.seed,
        "pushforward": config["pushforward"],
        "commit": config["commit"],
        "torch": config["torch"],
        "exported_with": {"pushforward": __version__, "torch": torch.__version__},
    }


def _picture(path: Path, run: Run, game: Game) -> None:
    """A grid of images, a column a class where they are few, or a scatter of points, over those of a known law."""
    points = run.spec.kind == "points"
    columns = game.classes if game.classes is not None and game.classes <= MOST_COLUMNS else COLUMNS
    n = POINTS if points else (ROWS * columns if columns == game.classes else COLUMNS**2)
    x = exhibits.shown(sampling.generate(game, *example(game, n), torch.device("cpu")), run.law)
    law = run.data(progress=False) if run.law is not None else None
    picture = exhibits.draw(x, law) if points else pictures.grid(x, columns)
    if picture is not None:
        pictures.save_png(picture, path)


def _check(folder: Path, run: Run, game: Game) -> None:
    """Raises ValueError where the folder, read back, does not make the run's samples, bit for bit."""
    own = run.config["recipe"]
    read = load_generator(folder, recipe=own if own.endswith(".py") else None, device="cpu")
    z, y = example(game, 5)
    wanted = sampling.generate(game, z, y, torch.device("cpu"))
    if not torch.equal(read(z, y), wanted):
        raise ValueError(
            f"{run.plan.recipe} samples by more than its networks' tensors: read back, the export makes other samples; "
            "keep what they depend on in buffers of the generator"
        )
