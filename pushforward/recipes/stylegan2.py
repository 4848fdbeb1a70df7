"""StyleGAN2: styles modulate convolutions, and the generator's paths are regularised. Karras et al. 2020,
arXiv:1912.04958, configuration F: skip generator, residual critic, lazy R1 and path lengths, mixing, truncation.

Differs from the paper: the automatic γ and the ramp of the average of Karras et al. 2020, arXiv:2006.06676, whose
augmentation is `--augment ada`; mirror images of the data by `--mirror` alone; regularisers join the steps that are
taken anyway; the mean path length is that of the rounds before, from the second on without the bias of a start at 0;
crossovers are drawn for each example; truncation is towards the mean of the class; samples have the same noise, for
fresh noise in each, so that a latent is one image; for small machines, smaller networks and a shorter mapping
(`--preset paper`, `cifar10` for the authors').
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pushforward.core.distributed import World, average_
from pushforward.core.duel import Sampler, two_players
from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.data.spec import DataSpec
from pushforward.games.adversarial import Duel, GeneratorTerm, Penalty, Rules, classes_of
from pushforward.games.styles import Mixing
from pushforward.networks.stylegan2 import Critic, Generator
from pushforward.objectives.penalties import path_length_penalty, path_lengths, twice_differentiable
from pushforward.objectives.regularisers import RunningMean


@dataclass(frozen=True)
class Config(Rules):
    examples: int = 200_000
    """Real examples to see (the paper: 25 million)."""
    batch: int = 32
    """Examples a move sees."""
    penalty: Penalty | None = "r1"
    """Penalty on the critic's gradient with respect to its input."""
    penalty_weight: float | None = None
    """Weight of the penalty: λ, or γ of r1 and r2, which enter as γ/2; None for 0.0002 · side² / batch."""
    penalty_every: int = 16
    """Take the penalty in every so many of the critic's moves, with so many times the weight."""
    path_weight: float | None = 2.0
    """Weight of the path length penalty; None for none."""
    path_every: int = 4
    """Take it every so many rounds, on every second example, with so many times the weight."""
    mixing: float = 0.9
    """Share of fakes in training whose layers take their styles from two latents."""
    latent: int = 64
    """Numbers in a latent, and in a style (the paper: 512)."""
    depth: int = 2
    """Layers of the mapping (the paper: 8)."""
    width: int = 64
    """Channels of a stage at most (the paper: 512)."""
    base: int = 512
    """Channels of a stage times its side at most (the paper: 32768)."""
    group: int | None = 4
    """Examples among which the critic is told the deviation; None for none."""
    residual: bool = True
    """Whether the critic's blocks have skips."""
    lr: float = 1e-2
    """Learning rate of both players (the paper: 2e-3, for runs a hundred times longer)."""
    beta2: float = 0.99
    """Adam's second decay; the first is 0."""
    ema: float | None = 10_000
    """Half-life of the generator's average, in examples; None for the weights themselves."""

    def idle(self) -> dict[str, str]:
        return super().idle() | ({"path_every": "--path-weight"} if self.path_weight is None else {})


PRESETS = {
    "images": Config(penalty_weight=0.3),  # the rule's is too weak for small batches of small images
    "paper": Config(
        examples=25_000_000, penalty_weight=10.0, latent=512, depth=8, width=512, base=32768, lr=2e-3
    ),
    "cifar10": Config(
        examples=100_000_000, batch=64, penalty_weight=0.01, path_weight=None, mixing=0.0, latent=512, width=512,
        base=32768, group=32, residual=False, lr=2.5e-3, ema=500_000, augment="ada",
    ),
}  # fmt: skip


class PathLengths:
    """The path length penalty of a batch with noise "path", and the mean length a, which moves after the round.

    So a round's micro-batches and processes all pull towards the same a. It is taken on every other row of each part:
    parts of an odd number of rows take one more, and then are not to the bit what the whole batch is. Karras et al.
    2020, arXiv:1912.04958, Eq. 4.
    """

    def __init__(self, G: Generator, mixing: Mixing) -> None:
        self.G, self.mixing = G, mixing
        self.mean = RunningMean(0.99)
        self._lengths: list[Tensor] = []

    def penalty(self, batch: Batch) -> Tensor:
        half = {k: v[::2] for k, v in batch.items() if k in ("z", "y", "other", "crossover", "maps", "path")}
        with twice_differentiable(half["z"].device):
            lengths = path_lengths(lambda w: self.G.synthesis(w, half["maps"]), self.mixing.styles(half), half["path"])
        self._lengths.append(lengths.detach())
        return path_length_penalty(lengths, self.mean.value)

    def after_round(self, clock: Clock) -> None:
        """Takes in the lengths of all micro-batches and processes."""
        if self._lengths:
            mean = torch.cat(self._lengths).mean()
            average_([mean], World(clock.rank, clock.world))
            self.mean.update(mean)
            self._lengths.clear()


def build(cfg: Config, spec: DataSpec) -> Game:
    classes = classes_of(cfg, spec, "stylegan2")
    G = Generator(cfg.latent, spec.shape, cfg.width, cfg.base, cfg.depth, classes)
    told = cfg.conditioning or "projection"
    D = Critic(spec.shape, cfg.width, cfg.base, classes, told, cfg.group, cfg.residual)
    players = two_players(G, D, lr=cfg.lr, betas=(0.0, cfg.beta2), ema=cfg.ema, decay=cfg.decay())
    mixing = Mixing(G, cfg.latent, cfg.mixing)
    paths = PathLengths(G, mixing)
    gamma = 2e-4 * spec.shape[-1] ** 2 / cfg.batch if cfg.penalty_weight is None else cfg.penalty_weight

    terms = [] if cfg.path_weight is None else [GeneratorTerm("path", cfg.path_weight, paths.penalty, cfg.path_every)]
    duel = Duel(
        G, D, cfg, latent=cfg.latent, shape=spec.shape, classes=classes, draws=mixing.draws,
        make=mixing.make, generator_terms=terms, penalty_weight=lambda seen: gamma,
    )  # fmt: skip

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        for move in duel.play(batches, clock):
            if terms and move.player == "generator" and clock.round % cfg.path_every == 0:
                move.batch["path"] = clock.normal(len(move.batch["z"]), *spec.shape)
            yield move
        paths.after_round(clock)

    game = duel.game(players, (cfg.latent,))
    game.play, game.truncated = play, lambda psi: Sampler(players["generator"], psi=psi)
    game.state["path"] = paths.mean
    return game
