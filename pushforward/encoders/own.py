"""A network of the user's as an encoder: a module in memory, or a file that torch.export saved."""

import copy
import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from pushforward.core.seeding import numpy_generator, torch_seeded
from pushforward.encoders.encoder import IMAGENET, Encoder, Scale
from pushforward.encoders.resize import Mode
from pushforward.encoders.weights import digest_of

Values = Literal["symmetric", "unit", "imagenet", "bytes"]
SCALES: dict[Values, Scale] = {
    "symmetric": Scale((127.5,), (127.5,)),
    "unit": Scale((0.0,), (255.0,)),
    "imagenet": IMAGENET,
    "bytes": Scale((0.0,), (1.0,)),
}
TOLERANCE = 1e-3  # of the largest feature: how far an image's may move when others are beside it


def from_module(
    module: nn.Module,
    size: int | tuple[int, int],
    values: Values = "symmetric",
    resize: Mode = "clean",
    channels: int = 3,
    name: str | None = None,
) -> Encoder:
    """A module that takes images [B, C, height, width] and returns features [B, …], flattened, or (features, logits).

    A copy in eval mode is kept, on the module's device: training on does not move the encoder, and measuring does not
    touch the module. values: what pixels become, `symmetric` −1 to 1, `unit` 0 to 1, `imagenet` standardised, `bytes`
    as they are. The digest covers parameters, buffers, the printed structure and the features of three fixed images.
    Raises ValueError for a module that cannot be copied or run at this size, or in which an image's features depend on
    the others in its batch or on chance.
    """
    try:
        frozen = copy.deepcopy(module).eval().requires_grad_(False)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise ValueError(f"{type(module).__name__} cannot be copied ({error}); save it with torch.export") from error
    first = next(_tensors(frozen), ("", torch.empty(0)))[1]
    square = (size, size) if isinstance(size, int) else size
    digest = _state_digest(frozen)
    kept = _Whole(frozen)
    return _probed(
        _encoder(name or type(module).__name__, kept, square, values, resize, digest, first.device, channels)
    )


def from_file(
    file: Path,
    size: int | tuple[int, int] | None = None,
    values: Values = "symmetric",
    resize: Mode = "clean",
    device: torch.device | str = "cpu",
    name: str | None = None,
) -> Encoder:
    """A `.pt2` file by torch.export.save, of a network as `from_module` takes, exported at any batch size.

    size: by default what it was exported for. Opening such a file can run code of its author's, as importing a module
    does: open only files that you trust. Raises ValueError for another kind of file, for a network of more than one
    input, and as `from_module` does, so for one that was exported in training mode.
    """
    where = torch.device(device)
    if not _is_program(file):
        raise ValueError(f"{file} must be a file by torch.export.save, got another or none; export the network")
    try:
        program = torch.export.load(file)
    except Exception as error:  # the reader raises whatever a foreign archive leads to
        reason = str(error).strip().split("\n")[0][:120]
        raise ValueError(f"{file} must be a file by torch.export.save, got {type(error).__name__}: {reason}") from error
    shape = _input_shape(program, file)
    channels, *exported = shape[1:]
    if not isinstance(channels, int):
        raise ValueError(f"{file} must have a fixed number of channels, got a free one; export it with 1 or 3")
    asked = (size, size) if isinstance(size, int) else size
    square = tuple(e if isinstance(e, int) else a for e, a in zip(exported, asked or (None, None), strict=True))
    if None in square:
        raise ValueError(f"{file} takes images of any size; say at which size to measure")
    if asked is not None and square != tuple(asked):
        raise ValueError(f"{file} takes images of {exported[0]}×{exported[1]}, got the size {asked}; leave it out")
    if where.type != "cpu":
        program = move_to_device_pass(program, where)
    least, most = (shape[0], shape[0]) if isinstance(shape[0], int) else _bounds(program, shape[0])
    network = _Whole(_InLots(program.module(), least, most))
    height, width = square
    assert isinstance(height, int)
    assert isinstance(width, int)
    encoder = _encoder(name or file.stem, network, (height, width), values, resize, digest_of(file), where, channels)
    return _probed(encoder, code=False)


class _Whole(nn.Module):
    """What a network returns, as features [B, D] and logits [B, K] or None; if it draws, then from a stream apart."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        with torch_seeded("encoder"):
            made = self.network(x)
        features, logits = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
        if not isinstance(features, Tensor) or features.shape[:1] != x.shape[:1]:
            got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ValueError(f"a network must return features [{len(x)}, …] or (features, logits), got {got}; wrap it")
        return features.reshape(len(x), -1), logits


class _InLots(nn.Module):
    """A program that takes `least` to `most` images at a time: more are split, fewer filled up with the last."""

    def __init__(self, program: nn.Module, least: int, most: int) -> None:
        super().__init__()
        self.program, self.least, self.most = program, least, most

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        parts = []
        for part in x.split(self.most):
            fill = part[-1:].expand(max(self.least - len(part), 0), -1, -1, -1)
            made = self.program(torch.cat([part, fill]))
            parts.append([y[: len(part)] for y in (made if isinstance(made, (tuple, list)) else (made,))])
        joined = [torch.cat(pieces) for pieces in zip(*parts, strict=True)]
        return tuple(joined) if len(joined) > 1 else joined[0]


def _encoder(
    name: str,
    network: nn.Module,
    size: tuple[int, int],
    values: Values,
    resize: Mode,
    digest: str,
    device: torch.device,
    channels: int,
) -> Encoder:
    if values not in SCALES:
        raise ValueError(f"pixels become one of {', '.join(get_args(Values))}, got {values!r}")
    if values == "imagenet" and channels != 3:
        raise ValueError(f"imagenet's scale is for 3 channels, got {channels}; use symmetric or unit")
    scale = SCALES[values]
    return Encoder(name, network, 0, size, lambda _: scale, resize, digest, device, channels)


def _probed(encoder: Encoder, code: bool = True) -> Encoder:
    """The encoder with its width, if it makes of three noise images together what it makes of each alone.

    code: add what it makes of them to its digest, as a module's code is in no tensor.
    """
    (height, width), c = encoder.size, encoder.channels
    noise = numpy_generator("encoder", height, width, c).integers(0, 256, (3, c, height, width), dtype="uint8")
    images = torch.from_numpy(noise)
    try:
        together = encoder.encode(images).features
        alone = torch.cat([encoder.encode(image[None]).features for image in images])
    except (RuntimeError, AssertionError, TypeError, IndexError) as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise ValueError(
            f"{encoder.name} must take images [B, {c}, {height}, {width}], got {type(error).__name__}: {reason}; "
            "say another size or number of channels"
        ) from error
    largest = float(together.abs().max()) or 1.0
    moved = float((together - alone).abs().max()) / largest
    if not moved <= TOLERANCE:
        raise ValueError(
            f"{encoder.name} must see each image by itself, got features that move by {moved:.1%} with the batch; "
            "take out what normalises over the batch, or draws at random, in eval mode"
        )
    digest = encoder.weights
    if code:
        rounded = (together / largest * 1000).round().to(torch.int32)
        digest = hashlib.sha256(digest.encode() + rounded.numpy().tobytes()).hexdigest()
    return replace(encoder, width=together.shape[1], weights=digest)


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _state_digest(module: nn.Module) -> str:
    digest = hashlib.sha256(f"{type(module).__module__}.{type(module).__qualname__}\n{module}".encode())
    for name, value in sorted(_tensors(module), key=lambda item: item[0]):
        digest.update(f"\n{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _is_program(file: Path) -> bool:
    """Whether it looks like one; asked before it is opened, as torch prints a stack trace for any other."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/archive_format") for name in archive.namelist())


def _input_shape(program: ExportedProgram, file: Path) -> tuple[int | torch.SymInt, ...]:
    names = program.graph_signature.user_inputs
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], Tensor) or values[0].ndim != 4:
        got = [tuple(v.shape) if isinstance(v, Tensor) else type(v).__name__ for v in values]
        raise ValueError(f"{file} must take one tensor of images [B, C, H, W], got {got}; export it with that alone")
    return tuple(values[0].shape)


def _bounds(program: ExportedProgram, rows: torch.SymInt) -> tuple[int, int]:
    """The fewest and the most images that the program takes at once."""
    limits = program.range_constraints.get(rows.node.expr)
    if limits is None:
        return 1, 1 << 20
    most = int(limits.upper) if limits.upper < (1 << 20) else 1 << 20
    return max(int(limits.lower), 1), most
