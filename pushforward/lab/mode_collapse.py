"""Mode collapse: with a slow critic a GAN swings from mode to mode; R1 and R2 damp that on the same networks.

Eight Gaussians on a ring, one pair of small networks, and one budget. The swinging is the Dirac-GAN's circling among
modes: Mescheder et al. 2018, arXiv:1801.04406, Section 3; Metz et al. 2017, arXiv:1611.02163, Section 3.1; the remedy
is the pair of penalties of R3GAN, Huang et al. 2025, arXiv:2501.05441, Section 2, with its loss and without.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pushforward.core.seeding import numpy_generator, torch_generator, torch_seeded
from pushforward.data.toy import Law, law_named
from pushforward.lab import Tell
from pushforward.lab._film import Film, Floats
from pushforward.lab._finding import Finding, Number
from pushforward.lab._mode_collapse_page import DAMPED, FAST, MINIMAX, PLAIN, R3GAN, WGAN_GP, Seen, page
from pushforward.metrics.modes import modes
from pushforward.networks.mlp import Critic, Generator
from pushforward.objectives.adversarial import Adversarial, minimax, non_saturating, relativistic, wasserstein
from pushforward.objectives.penalties import gradient_penalty, zero_centred_penalty
from pushforward.objectives.transport import exact_wasserstein

LATENT, DEPTH, RATE, BETAS = 2, 2, 5e-3, (0.5, 0.99)  # RATE: the generator's; Adam for both players
EVERY, SAMPLES, MATCHED = 20, 1000, 400  # rounds between looks; samples at a look; those of them matched for W₂
SLOPE_WEIGHT = 1.0  # λ of WGAN-GP; its paper has 10
Penalty = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the networks, the data and the latents, which all ways of training share."""
    rounds: int = 700
    """Rounds of training, each one step of the critic and one of the generator."""
    batch: int = 64
    """Examples a step sees."""
    width: int = 64
    """Units in each of two hidden layers, of both networks."""
    critic_rate: float = 5e-4
    """Learning rate of the slow critic; the generator's is 5e-3."""
    gamma: float = 5.0
    """Weight γ of R1 and R2, each of which enters as γ/2."""

    def __post_init__(self) -> None:
        if self.rounds < 6 * EVERY or self.critic_rate <= 0 or self.gamma <= 0 or min(self.batch, self.width) < 1:
            raise ValueError(
                f"a film needs {6 * EVERY} or more rounds, and batch, width, critic rate and gamma positive, got "
                f"{self.rounds}, {self.batch}, {self.width}, {self.critic_rate} and {self.gamma}; raise them"
            )


@dataclass(frozen=True)
class Way:
    """A way to train: losses, the critic's penalty with its weight, and the critic's rate."""

    losses: Adversarial
    critic_rate: float
    penalty: Penalty | None = None


def ways(cfg: Config) -> dict[str, Way]:
    """All of them, by the names that the page gives them."""
    slow = cfg.critic_rate

    def flat(D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        # γ/2 of R1 and of R2, in one pass: the mean over both halves is half the sum of the two penalties.
        return cfg.gamma * zero_centred_penalty(D, torch.cat([real, fake]))

    def unit_slope(D: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        return SLOPE_WEIGHT * gradient_penalty(D, real, fake, torch.rand(len(real)))

    return {
        MINIMAX: Way(minimax, slow),
        PLAIN: Way(non_saturating, slow),
        WGAN_GP: Way(wasserstein, slow, unit_slope),
        DAMPED: Way(non_saturating, slow, flat),
        R3GAN: Way(relativistic, slow, flat),
        FAST: Way(non_saturating, RATE),
    }


def train(cfg: Config, way: Way, law: Law, tell: Callable[[], None]) -> Film:
    """Trains both networks in turns and looks at the generator's samples of the same latents every so many rounds."""
    with torch_seeded("lab", "mode-collapse", "networks", cfg.seed):
        G, D = Generator(LATENT, (2,), cfg.width, DEPTH), Critic((2,), cfg.width, DEPTH)
    optimizers = [
        torch.optim.Adam(net.parameters(), rate, BETAS, fused=True) for net, rate in ((G, RATE), (D, way.critic_rate))
    ]
    data = _rng(cfg, "data")
    latents = torch_generator("lab", "mode-collapse", "latents", cfg.seed)
    fixed = torch.randn(SAMPLES, LATENT, generator=torch_generator("lab", "mode-collapse", "looks", cfg.seed))

    def step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def look() -> None:
        with torch.no_grad():
            seen.append(law.from_model(G(fixed).numpy()))
        tell()

    seen: list[Floats] = []
    with torch_seeded("lab", "mode-collapse", "penalty", cfg.seed):
        for n in range(cfg.rounds):
            if n % EVERY == 0:
                look()
            real = torch.from_numpy(law.to_model(law.sample(data, cfg.batch)[0]))
            with torch.no_grad():
                fake = G(torch.randn(cfg.batch, LATENT, generator=latents))
            loss = way.losses.critic(D(real), D(fake))
            step(optimizers[1], loss + way.penalty(D, real, fake) if way.penalty else loss)
            fake = G(torch.randn(cfg.batch, LATENT, generator=latents))
            D.requires_grad_(False)
            step(optimizers[0], way.losses.generator(D(real) if way.losses.relative else None, D(fake)))
            D.requires_grad_(True)
        look()
    return _film(cfg, law, np.array(seen))


def _film(cfg: Config, law: Law, points: Floats) -> Film:
    rounds = np.minimum(np.arange(len(points)) * EVERY, cfg.rounds)
    reference = law.sample(_rng(cfg, "reference"), MATCHED)[0]
    assert law.centres is not None
    counts = np.array([modes(frame, law.centres, law.sigma).counts for frame in points])
    distance = np.array([exact_wasserstein(frame[:MATCHED], reference) for frame in points[::-4][::-1]])
    return Film(rounds, points, counts, reference, distance)


def run(cfg: Config, tell: Tell) -> Finding:
    """Six ways to train the same networks: films, the modes' shares over time, and distances to the data."""
    law = law_named("ring8")
    looks, done = len(ways(cfg)) * (math.ceil(cfg.rounds / EVERY) + 1), 0

    def looked() -> None:
        nonlocal done
        done += 1
        tell(0.95 * done / looks)

    films = {name: train(cfg, way, law, looked) for name, way in ways(cfg).items()}
    rng = _rng(cfg, "looks")
    data = _film(cfg, law, np.array([law.sample(rng, SAMPLES)[0] for _ in films[PLAIN].rounds]))
    assert law.centres is not None
    finding = page(
        _numbers(films, data, law), Seen(films, data, law.centres, cfg.critic_rate, RATE, cfg.gamma, SLOPE_WEIGHT)
    )
    tell(1.0)
    return finding


def _rng(cfg: Config, purpose: str) -> np.random.Generator:
    return numpy_generator("lab", "mode-collapse", purpose, cfg.seed)


def moved_by_chance(n: int, k: int) -> tuple[float, float]:
    """Mean and standard deviation of the total variation between the shares of two samples of n from k equal modes.

    Each difference of shares is about normal with variance 2·(1/k)(1 − 1/k)/n, and TV is half the sum of their sizes.
    """
    deviation = math.sqrt(2 * (1 / k) * (1 - 1 / k) / n)
    return k / 2 * deviation * math.sqrt(2 / math.pi), math.sqrt(k) / 2 * deviation * math.sqrt(1 - 2 / math.pi)


def least_distance(points: Floats, reference: Floats, law: Law) -> float:
    """W₂ to the reference sample is at least this, by the shares of the modes alone.

    A point whose own mode has none of the reference's mass left must go to another one, whose centre is no nearer than
    half the gap between two centres.
    """
    assert law.centres is not None
    made, real = (modes(x, law.centres, law.sigma).counts / len(x) for x in (points, reference))
    gap = np.linalg.norm(law.centres[0] - law.centres[1])
    return math.sqrt(float(np.abs(made - real).sum()) / 2) * float(gap / 2 - law.distance(reference).max())


def _numbers(films: dict[str, Film], data: Film, law: Law) -> tuple[Number, ...]:
    k, looks = data.counts.shape[1], len(data.rounds)
    floor, chance = (k - 1) / (2 * SAMPLES), moved_by_chance(SAMPLES, k)
    fair = SAMPLES / k / 10
    pair = "no theorem: two runs that differ in this alone, over the last third"
    hopping = films[WGAN_GP]
    return (
        Number(
            "data: KL of the modes' shares to uniform, mean over looks",
            float(data.kl.mean()),
            floor,
            4 * math.sqrt(2 * (k - 1)) / (2 * SAMPLES) / math.sqrt(looks),
            why="7/2n, as 2n·KL has about a χ² law with 7 degrees of freedom; slack: four standard errors",
        ),
        Number(
            "data: share that changes its mode between two looks",
            float(data.moved.mean()),
            chance[0],
            4 * chance[1] / math.sqrt((looks - 1) / 2),
            why="k/2 · √(2σ²/π), σ² = 2 · (1/8)(7/8)/n; slack: four standard errors, neighbours sharing a sample",
        ),
        Number(
            "effective modes, slow critic: with R1 and R2 less without",
            films[DAMPED].late_effective - films[PLAIN].late_effective,
            0,
            relation="≥",
            why=pair,
        ),
        Number(
            "effective modes, no penalty: fast critic less slow",
            films[FAST].late_effective - films[PLAIN].late_effective,
            0,
            relation="≥",
            why=pair,
        ),
        Number(
            "share that changes its mode between two looks: without R1 and R2 over with",
            films[PLAIN].late_moved / films[DAMPED].late_moved,
            1,
            relation="≥",
            why=pair,
        ),
        Number(
            "R1 and R2: modes with a tenth of their fair share or more, at the end",
            float((films[DAMPED].counts[-1] >= fair).sum()),
            k,
            why="all of the data's",
        ),
        Number(
            "WGAN-GP, 1 critic step: W₂ to the data at the end",
            float(hopping.distance[-1]),
            least_distance(hopping.points[-1][:MATCHED], data.reference, law),
            0,
            "≥",
            "√TV · (half the gap between modes − the noise): mass in the wrong mode must cross half a gap at least",
        ),
    )
