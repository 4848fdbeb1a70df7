"""Style mixing: some layers' styles from one code, the others' from another."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.core.game import Generate
from pushforward.latent.generators import made


@dataclass(frozen=True)
class Mixing:
    """Images of the rows' codes [R, C, H, W] and of the columns' [N, C, H, W], and mixed [R, N, C, H, W]."""

    rows: Tensor
    columns: Tensor
    mixed: Tensor


def style_mixing(synthesis: Generate, rows: Tensor, columns: Tensor, layers: Sequence[int]) -> Mixing:
    """Each row's styles, but for `layers`, which have the column's. Karras et al. 2019, arXiv:1812.04948, Figure 3.

    synthesis: styles to images (see `generators.from_styles`); rows: [R, L, W]; columns: [N, L, W]; layers: some of
    0 to L − 1, from the coarsest. Raises ValueError for other layers, or none, or all.
    """
    depth = rows.shape[1]
    chosen = sorted(set(layers))
    if not chosen or chosen[0] < 0 or chosen[-1] >= depth or len(chosen) == depth:
        raise ValueError(
            f"mixing takes some of the layers 0 to {depth - 1} from the columns, and not all, got {[*layers]}; "
            f"layers 0 to {max(depth // 2 - 1, 0)} are the coarse half"
        )
    mixed = rows[:, None].repeat(1, len(columns), 1, 1)  # [R, N, L, W]
    mixed[:, :, chosen] = columns[None, :, chosen].expand(len(rows), -1, -1, -1)
    images = made(synthesis, torch.cat([rows, columns, mixed.flatten(0, 1)]))
    r, n = len(rows), len(columns)
    return Mixing(images[:r], images[r : r + n], images[r + n :].unflatten(0, (r, n)))
