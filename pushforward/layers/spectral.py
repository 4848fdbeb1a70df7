"""Spectral normalisation: each layer's weights divided by their largest singular value.

Ours, and not `torch.nn.utils.parametrizations.spectral_norm`, because that one iterates at every use of the weights:
then real and fake examples of one step are judged by different critics, cutting a batch into micro-batches changes the
result, and frozen networks go on changing. Here the same weights give the same output however often they are used.
"""

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

_Net = TypeVar("_Net", bound=nn.Module)

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED)


@torch.no_grad()
def _iterated(matrix: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Singular vectors (u, v) of a matrix, one power iteration on if it is not the one that `sigma` was taken of.

    Changes u, v and sigma in place. A comparison of values, and not a flag: it holds after loading a checkpoint, and
    the host never waits for it.
    """
    before = matrix @ v
    changed = torch.dot(u, before) != sigma
    right = torch.where(changed, F.normalize(matrix.mT @ u, dim=0), v)
    after = torch.where(changed, matrix @ right, before)
    left = torch.where(changed, F.normalize(after, dim=0), u)
    u.copy_(left)
    v.copy_(right)
    sigma.copy_(torch.dot(left, after))
    return left, right


# In one piece for the compiler: cut up, it would round otherwise than where a penalty has the network run eagerly, and
# take the same weights for changed ones; and gradients would start from vectors that have changed since.
_compiled = torch.library.custom_op("pushforward::power_iteration", _iterated, mutates_args=("u", "v", "sigma"))


@_compiled.register_fake
def _(matrix: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(u), torch.empty_like(v)


class SpectralNorm(nn.Module):
    """W ↦ W / σ(W), a parametrisation for `torch.nn.utils.parametrize`.

    σ is the largest singular value of W with all but its `outputs` dimension flattened, followed through training by
    one step of power iteration each time that the weights have changed, in training mode only. It starts exact, and
    later lags behind from below. An averaged copy (EMA) is normalised along the vectors of the weights it follows.
    Computed in float32 whatever the autocast around it; differentiable as often as needed, u and v held constant.
    Miyato et al. 2018, arXiv:1802.05957, Algorithm 1 and Eq. 8.
    """

    u: Tensor
    v: Tensor
    sigma: Tensor

    def __init__(self, weight: Tensor, outputs: int = 0) -> None:
        super().__init__()
        self.outputs = outputs
        matrix = self._matrix(weight.detach())
        u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
        if not values[0] > 0:
            raise ValueError(
                f"weights of shape {tuple(weight.shape)} are all zero, so they have no direction to normalise; "
                "initialise them first"
            )
        self.register_buffer("u", u[:, 0].clone())
        self.register_buffer("v", vh[0].clone())
        self.register_buffer("sigma", torch.dot(self.u, matrix @ self.v))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            matrix = self._matrix(weight)
            u, v = self._directions(matrix.detach()) if self.training else (self.u.clone(), self.v.clone())
            return weight / torch.dot(u, matrix @ v)

    def _directions(self, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """The singular vectors to use, one iteration on if the weights have changed."""
        iterate = _compiled if torch.compiler.is_compiling() else _iterated
        return iterate(matrix, self.u, self.v, self.sigma)

    def _matrix(self, weight: Tensor) -> Tensor:
        weight = weight if weight.dtype == torch.float64 else weight.float()
        return weight.movedim(self.outputs, 0).flatten(1)


def spectral(network: _Net) -> _Net:
    """Normalises the weights of all linear and convolution layers of a network, in place; returns it.

    Call it before the network is given to an optimizer or copied for an average. Layers that are normalised already
    are left as they are; biases, embeddings and normalisation layers are never touched.

    With 1-Lipschitz activations between them, linear layers then make a 1-Lipschitz network, but for the iteration's
    lag behind the weights. Of a convolution it is the reshaped matrix's norm that becomes 1, as in the paper, and not
    the operator's: that one can be √taps as large (3 for a 3×3 kernel), as each number enters up to `taps` patches.
    """
    for layer in list(network.modules()):
        if isinstance(layer, _LAYERS) and not parametrize.is_parametrized(layer, "weight"):
            outputs = 1 if isinstance(layer, _TRANSPOSED) else 0
            parametrize.register_parametrization(layer, "weight", SpectralNorm(layer.weight, outputs))
    return network
