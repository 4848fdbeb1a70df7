"""A generator as an ONNX graph, checked against onnxruntime."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from pushforward.core.game import Game
from pushforward.export.program import compare

TOLERANCE = 1e-4
LIMIT = 2 << 30  # bytes of one protobuf file


def check_libraries() -> None:
    """Raises ValueError where a library that ONNX takes is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"the ONNX format needs onnx, onnxruntime and onnxscript, got no {error.name}; "
            "install them with: pip install 'pushforward[export]'"
        ) from error


def save_graph(path: Path, program: ExportedProgram, game: Game, about: dict[str, Any]) -> None:
    """Writes the graph with inputs `latents` and, with classes, `labels`, output `samples`, and any batch size.

    about: what goes into its metadata, a word each. Raises ValueError where onnxruntime makes of it something that
    differs from the networks by more than 1e-4, or where it is too large for one file.
    """
    import onnx

    names = ["latents", *(["labels"] if game.classes is not None else [])]
    size = sum(t.nbytes for t in (*program.state_dict.values(), *program.constants.values()) if isinstance(t, Tensor))
    if size >= LIMIT:
        raise ValueError(f"an ONNX file must be below 2 GiB, got networks of {size:,} bytes; leave this format out")
    with _quiet():
        made = torch.onnx.export(program, (), input_names=names, output_names=["samples"], dynamo=True, verbose=False)
    assert made is not None
    model = made.model_proto
    # The exporter notes for each node where on this disk its source lies.
    for graph in (model.graph, *model.functions):
        graph.doc_string = ""
        del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    onnx.helper.set_model_props(model, {key: _word(value) for key, value in about.items()})
    onnx.checker.check_model(model)
    onnx.save(model, path)
    compare(game, runner(path), "ONNX", TOLERANCE)


def runner(path: Path) -> Any:
    """(latents, labels or None) -> samples, by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(z: Tensor, y: Tensor | None) -> Tensor:
        given = {"latents": z.numpy()} | ({} if y is None else {"labels": y.numpy()})
        return torch.from_numpy(session.run(["samples"], given)[0])

    return run


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of libraries that it does without, and of what torch is about to leave behind."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
