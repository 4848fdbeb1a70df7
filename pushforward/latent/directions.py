"""Directions that nobody labelled: from the weights of the layers that read the code, or from what they put out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pushforward.core.game import Generate
from pushforward.core.seeding import torch_seeded
from pushforward.latent.generators import BATCH, made, over_paths, root_mean_square

PROBED = 8  # rows that must agree for a layer's input to be the code
EXACT = 2048  # features up to which all their axes are found, and not the strongest alone
MORE = 16  # axes beyond those that are looked for, which make these good


@dataclass(frozen=True)
class Directions:
    """vectors: orthonormal or unit rows [n, Z], the strongest first. values: [n], what they are ordered by.

    spread: standard deviation of codes along each, [n]: the unit of strengths.
    """

    vectors: Tensor
    values: Tensor
    spread: Tensor


@dataclass(frozen=True)
class Reader:
    """A linear layer that is given the code: the part A [out, Z] of its weights, and what it put out [B, ...]."""

    weight: Tensor
    output: Tensor


def readers(run: Callable[[], Any], code: Tensor) -> list[Reader]:
    """The linear layers that read numbers of `code` while `run` runs, in their order.

    code: [B, Z], B of 2 or more, or styles [B, L, Z]; a layer may read some of the numbers, beside others; latents
    also scaled by a factor of each example's own, as pixel normalisation does, alone or with others beside them, or as
    the uniform numbers Φ(z) in [-1, 1] that normal ones stand for. Found by comparing what goes into layers with the
    code, so that no layer need have a name.
    """
    z = code.dim() == 2
    candidates = [code, torch.erf(code / 2**0.5)] if z else [*code.unbind(1)]
    with torch.no_grad(), _Watch(candidates, scaled=z) as watch:
        run()
    return watch.found


def first_outputs(
    generate: Generate, codes: Tensor, y: Tensor | None = None, batch: int = BATCH
) -> tuple[Tensor, Tensor]:
    """What the first layer that reads codes [N, Z] puts out, [N, F], and which of their numbers it reads, bool [Z].

    Raises ValueError where there is none.
    """
    parts, read = [], None
    for i in range(0, len(codes), batch):
        part, labels = codes[i : i + batch], None if y is None else y[i : i + batch]
        found = readers(partial(generate, part, labels), part)
        if not found:
            raise ValueError(
                "no linear layer reads the code, so that there is no first layer's output to analyse; use arithmetic, "
                "by labels"
            )
        parts.append(found[0].output.flatten(1))
        if read is None:  # of one batch, as rows that are few can be alike by chance
            read = (found[0].weight != 0).any(0)
    assert read is not None
    return torch.cat(parts), read


class _Watch(TorchFunctionMode):
    """candidates: a code [B, Z] in all its forms; scaled: whether each example may have a factor of its own."""

    def __init__(self, candidates: Sequence[Tensor], scaled: bool) -> None:
        super().__init__()
        self.candidates, self.scaled, self.found = candidates, scaled, list[Reader]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.linear:
            self._look(args[0], args[1], out)
        elif func is F.conv_transpose2d and args[0].shape[2:] == (1, 1):  # DCGAN's first, as it is often written
            self._look(args[0].flatten(1), args[1].flatten(2).permute(1, 2, 0).flatten(0, 1), out)
        return out

    def _look(self, x: Tensor, weight: Tensor, out: Tensor) -> None:
        """x: [B, F], weight: [out, F]."""
        if x.dim() != 2 or len(x) != len(self.candidates[0]):
            return
        some, codes = x[:PROBED], [code[:PROBED].to(x) for code in self.candidates]
        found = [torch.isclose(some.T[:, None], own.T[None], rtol=1e-4, atol=1e-5).all(2) for own in codes]  # [F, Z]
        if self.scaled:
            found.append(_along(some, codes[0]))
        for same in found:
            if same.any():
                self.found.append(Reader((weight.float() @ same.float()).cpu(), out.detach().float().cpu()))
                return


def _along(x: Tensor, code: Tensor) -> Tensor:
    """Which columns of x [B, F], neighbours all, are the code [B, Z] times a positive number of each row's: [F, Z]."""
    (features, n), same = (x.shape[1], code.shape[1]), torch.zeros(x.shape[1], code.shape[1], dtype=torch.bool)
    if 1 < n <= features:  # one number is always another one, scaled
        places = x.unfold(1, n, 1).split(256, dim=1)  # [B, 256, Z] each, so that little is held at once
        likeness = torch.cat([F.cosine_similarity(some, code[:, None], dim=2) for some in places], dim=1)
        for start in (likeness > 1 - 1e-5).all(0).nonzero().flatten().tolist():
            same[range(start, start + n), range(n)] = True
    return same.to(x.device)


def sefa(weights: Sequence[Tensor], n: int, codes: Tensor | None = None) -> Directions:
    """Eigenvectors of AᵀA with the largest eigenvalues, A: the weights [out, Z] below each other, each row of length 1.

    Of a code of which only some numbers are read, directions are of these. codes: [N, Z], for the spread; normal ones
    when None. Shen & Zhou 2021, arXiv:2007.06600, Eq. 4–6; rows have length 1 in the authors' code, which takes but the
    last of the layers that make images of styles.
    Raises ValueError without weights, or for more directions than numbers that are read.
    """
    if not any(weight.any() for weight in weights):
        raise ValueError(
            "no linear layer reads the code, and SeFa needs one; use GANSpace in w, or arithmetic, by labels"
        )
    A = F.normalize(torch.cat([*weights]).double(), dim=1)
    read = (A != 0).any(0)
    A = A[:, read]
    _enough(n, A.shape[1])
    values, vectors = torch.linalg.eigh(A.T @ A)  # ascending
    return _directions(vectors.flip(1).T[:n], values.flip(0)[:n], codes, read)


def ganspace(features: Tensor, codes: Tensor, n: int, read: Tensor | None = None) -> Directions:
    """Principal axes of the features [N, F], as the directions in which codes [N, Z] move with them, by least squares.

    values: the share of the features' variance along each axis. Of codes that are features themselves (styles w), the
    axes are the directions. read: the numbers of codes that features depend on, bool [Z], by default all: others move
    with them by chance alone, and stay. Of more than 2,048 features a randomised decomposition looks for as many axes
    as numbers are read: exact where there are no more, as after a linear layer. Härkönen et al. 2020, arXiv:2004.02546,
    Section 2.2 and 2.3 (`layers` of `traverse`).
    Raises ValueError for more directions than numbers that are read, or no more codes than these.
    """
    read = torch.ones(codes.shape[1], dtype=torch.bool) if read is None else read.cpu()
    own = codes.cpu()[:, read].double()
    _enough(n, min(own.shape[1], features.shape[1]))
    if len(own) <= own.shape[1]:
        raise ValueError(
            f"GANSpace needs more codes than the {own.shape[1]:,} numbers of one that are read, got {len(own):,}; use "
            "SeFa, which needs none"
        )
    x, z = features - features.mean(0, dtype=torch.float64), own - own.mean(0)
    variances, axes = _principal(x, n, own.shape[1])
    # Coordinates along principal axes are uncorrelated, so that least squares is one covariance for each.
    vectors = F.normalize((x @ axes).T @ z, dim=1)
    return _directions(vectors, variances / (x.square().sum() / len(x)).clamp_min(1e-300), codes, read)


def _principal(x: Tensor, n: int, rank: int) -> tuple[Tensor, Tensor]:
    """Variances [n] along the strongest principal axes [F, n] of x [N, F], whose mean is 0.

    rank: how many axes are looked for where features are many; n or more.
    """
    if x.shape[1] <= EXACT:
        values, axes = torch.linalg.eigh(x.T @ x / len(x))  # ascending
        return values.flip(0)[:n].clamp_min(0), axes.flip(1)[:, :n]
    with torch_seeded("directions", 0):
        _, roots, axes = torch.pca_lowrank(x, min(*x.shape, rank + MORE), center=False, niter=4)
    return roots[:n].square() / len(x), axes[:, :n]


def traverse(
    generate: Generate,
    code: Tensor,
    found: Directions,
    strengths: Tensor,
    y: Tensor | None = None,
    layers: Sequence[int] | None = None,
) -> Tensor:
    """Images [n, S, C, H, W]: the code [Z] or [L, Z] moved along each direction by strengths [S] of its spread.

    layers: which of L styles move, by default all.
    """
    steps = _steps(found, code, layers)  # [n, Z], or [n, L, Z]
    moves = steps[:, None] * strengths.to(code).view(-1, *[1] * code.dim())
    labels = None if y is None else y.expand(len(steps))
    return over_paths(generate, code + moves, labels)


def effects(
    generate: Generate,
    codes: Tensor,
    found: Directions,
    y: Tensor | None = None,
    layers: Sequence[int] | None = None,
) -> Tensor:
    """Root mean square change of images of codes [N, ...] by one spread along each direction, mean over codes: [n].

    layers: which of the styles move, by default all.
    """
    still = made(generate, codes, y)
    steps = _steps(found, codes[0], layers)
    changed = [root_mean_square(made(generate, codes + step, y) - still).mean() for step in steps]
    return torch.stack(changed)


def _steps(found: Directions, code: Tensor, layers: Sequence[int] | None) -> Tensor:
    """One spread along each direction: [n, Z], for styles [L, Z] [n, L, Z], 0 in layers that don't move."""
    steps = (found.vectors * found.spread[:, None]).to(code)
    if code.dim() == 1:
        if layers is not None:
            raise ValueError(f"layers have styles of their own, got {[*layers]} and one code [Z] for all; give styles")
        return steps
    moved = torch.ones(len(code), 1).to(code)
    if layers is not None:
        moved = torch.zeros_like(moved)
        moved[[*layers]] = 1
    return steps[:, None] * moved


def at_random(like: Directions, n: int, codes: Tensor, generator: torch.Generator) -> Directions:
    """Directions drawn uniformly, to compare others with."""
    vectors = F.normalize(torch.randn(n, like.vectors.shape[1], generator=generator, dtype=torch.float64), dim=1)
    return _directions(vectors, torch.zeros(n), codes)


def _directions(vectors: Tensor, values: Tensor, codes: Tensor | None, read: Tensor | None = None) -> Directions:
    """The sign of a direction is free: its largest number is made positive, so that it is the same everywhere.

    vectors: [n, R], of the R numbers that `read`, bool [Z], has of a code's; the others are 0.
    """
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    vectors = vectors * largest.sign()
    read = torch.ones(vectors.shape[1], dtype=torch.bool) if read is None else read
    spread = torch.ones(len(vectors)) if codes is None else (codes.cpu()[:, read].double() @ vectors.T).std(0)
    whole = torch.zeros(len(vectors), len(read))
    whole[:, read] = vectors.float()
    return Directions(whole, values.float(), spread.float())


def _enough(n: int, most: int) -> None:
    if not 1 <= n <= most:
        raise ValueError(f"there are 1 to {most} directions to be had here, got {n}; ask for fewer")
