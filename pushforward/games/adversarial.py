"""The adversarial game: any objective, penalty, augmentation and conditioning, with any pair of networks.

A recipe's Config inherits `Rules` and gives its paper's choices as defaults, so that each can be swapped by an option.
Recipes that are named after their objective (`wgan`, `wgan-gp`, `lsgan`, `fgan`, `mmd-gan`, `gmmn`) keep it, in the
networks of others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor, nn

from pushforward.core.distributed import World, average_
from pushforward.core.duel import Judge, Sampler
from pushforward.core.game import Batch, Clock, Game, Generate, Move, Objective, Player, Stateful
from pushforward.core.schedule import Schedule, held
from pushforward.games.augmentation import Augmenter
from pushforward.layers.conditioning import Conditioning
from pushforward.objectives import adversarial, penalties
from pushforward.objectives.divergence import DIVERGENCES
from pushforward.objectives.penalties import lazy, precise, twice_differentiable

Loss = Literal[
    "non-saturating",
    "minimax",
    "hinge",
    "wasserstein",
    "least-squares",
    "pearson",
    "relativistic",
    "relativistic-average",
    "relativistic-average-squares",
    "relativistic-average-hinge",
    "kl",
    "reverse-kl",
    "jensen-shannon",
    "total-variation",
    "neyman",
    "squared-hellinger",
    "jeffreys",
]
Penalty = Literal["gp", "lp", "0gp", "r1", "r2", "r1+r2", "dragan"]
Augment = Literal["diffaugment", "ada"]

# By name; the last of them are f-GAN's bounds, but for its `gan`, which is non-saturating, and its Pearson bound, as
# `pearson` is the least squares that play for a Pearson divergence of another pair.
LOSSES = {
    name: adversarial.OBJECTIVES.get(key) or adversarial.fgan(DIVERGENCES[key])
    for name, key in ((name, name.replace("-", "_")) for name in get_args(Loss))
}
BETWEEN = {
    "gp": penalties.gradient_penalty,
    "lp": penalties.lipschitz_penalty,
    "0gp": penalties.zero_centred_between,
}
SLOPES = {"r1": ("r1",), "r2": ("r2",), "r1+r2": ("r1", "r2")}
# Only differences of logits count, so that a logit's sign says nothing.
DIFFERENCES = ("wasserstein", *(name for name, losses in LOSSES.items() if losses.relative))
UNDECIDED = {"least-squares": 0.5, "kl": 1.0}  # the logit of a critic that can't tell real from fake, where it is not 0


@dataclass(frozen=True)
class Rules:
    """What any adversarial recipe lets one swap; each gives its paper's choice."""

    examples: int = 600_000
    """Real examples to see."""
    batch: int = 64
    """Examples a move sees."""
    lr_hold: float = 1.0
    """Share of the run that the learning rates hold, before they fall to zero in a straight line."""
    critic_steps: int = 1
    """Critic's moves before each of the generator's."""
    loss: Loss = "non-saturating"
    """What the players minimise, kl to jeffreys by f-GAN's bounds; relativistic averages are means of the micro-batch,
    or of the process's own part."""
    penalty: Penalty | None = None
    """Penalty on the critic's gradient with respect to its input."""
    penalty_weight: float | None = 10.0
    """Weight of the penalty: λ, or γ of r1 and r2, which enter as γ/2; None where a recipe has a rule for it."""
    penalty_every: int = 1
    """Take the penalty in every so many of the critic's moves, with so many times the weight (lazily)."""
    augment: Augment | None = None
    """What is done to all that the critic sees: diffaugment, or ada, whose probability p follows the critic."""
    augment_p: float = 0.0
    """ADA's probability p at the start."""
    augment_target: float | None = 0.6
    """Mean sign of the critic's logits on real examples (less those on fakes, where only differences count) that ADA
    holds by moving p; None leaves p as it is."""
    augment_speed: int = 500_000
    """Examples in which ADA can move p from 0 to 1."""
    augment_groups: tuple[str, ...] = ("blit", "geometry", "color")
    """ADA's transformations: blit, geometry, color, filter, noise, cutout."""
    augment_policy: tuple[str, ...] = ("color", "translation", "cutout")
    """DiffAugment's changes: color, translation, cutout."""
    conditioning: Conditioning | None = None
    """How the critic is told the class: concatenation, projection, or not at all, and the generator neither."""

    def decay(self) -> Schedule:
        """What share of the learning rates is left, over examples seen."""
        return held(self.lr_hold, self.examples)

    def idle(self) -> dict[str, str]:
        """Options that nothing reads as the others stand, each with the option that would have it read."""
        ada = ("augment_p", "augment_target", "augment_speed", "augment_groups")
        readers = {
            "--penalty": () if self.penalty is not None else ("penalty_weight", "penalty_every"),
            "--augment ada": () if self.augment == "ada" else ada,
            "--augment diffaugment": () if self.augment == "diffaugment" else ("augment_policy",),
        }
        return {name: reader for reader, names in readers.items() for name in names}


class Labelled(Protocol):
    """What is asked of a `data.spec.DataSpec` here."""

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> int | None: ...


@dataclass(frozen=True)
class CriticTerm:
    """A further term of the critic's loss, of its logits (real [B], fake [B])."""

    name: str
    weight: float
    value: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class GeneratorTerm:
    """A further term of the generator's loss, of a move's batch; every so many rounds, so many times as heavy."""

    name: str
    weight: float
    value: Callable[[Batch], Tensor]
    every: int = 1


def classes_of(rules: Rules, spec: Labelled, recipe: str) -> int:
    """Classes that the networks are built for: 0 without conditioning. Raises ValueError where labels are missing."""
    if rules.conditioning is None:
        return 0
    if spec.classes is None:
        raise ValueError(
            f"a conditional {recipe} needs labels, and {spec.name} has none; give --conditioning None, or data with "
            "classes (sub-folders)"
        )
    return spec.classes


class Duel:
    """Critic D and generator G in alternating moves under `rules`. Goodfellow et al. 2014, arXiv:1406.2661, Alg. 1.

    latent: numbers in a latent; classes: 0 where the players are given no labels. shape: of an image (C, H, W).
    draws: (clock, n) -> what fakes are made of, besides labels: by default {"z": standard normal [n, latent]}.
    make: the move's batch -> fakes; by default G(z, y). real: real examples -> what the critic should see of them.
    joint: real and fake go through the critic in one pass, for critics in which no layer mixes examples.
    penalty_weight, augment_p: the penalty's weight and ADA's p as schedules over examples seen, in place of the rules'
    constant weight and of a p that follows the critic. names: the players', critic first.

    Fakes are given the labels of the real examples beside them; the generator's move, those of the critic's last one.
    Every random number travels in a move's batch, so that micro-batches and processes see what one batch would (but
    for networks with dropout, as LAPGAN's critics and maxout's, minibatch deviations whose groups do not fit into the
    part at hand, and relativistic averages, whose means are of that part).
    """

    def __init__(
        self,
        G: nn.Module,
        D: nn.Module,
        rules: Rules,
        *,
        latent: int,
        shape: tuple[int, ...],
        classes: int = 0,
        draws: Callable[[Clock, int], Batch] | None = None,
        make: Callable[[Batch], Tensor] | None = None,
        real: Callable[[Tensor], Tensor] | None = None,
        joint: bool = False,
        critic_terms: Sequence[CriticTerm] = (),
        generator_terms: Sequence[GeneratorTerm] = (),
        penalty_weight: Schedule | None = None,
        augment_p: Schedule | None = None,
        names: tuple[str, str] = ("critic", "generator"),
    ) -> None:
        self.G, self.D, self.rules, self.losses = G, D, rules, LOSSES[rules.loss]
        self.shape, self.classes, self.joint, self.names = shape, classes, joint, names
        self.draws = draws or (lambda clock, n: {"z": clock.normal(n, latent)})
        self.make = make or (lambda batch: G(batch["z"], batch.get("y")))
        self.real = real or (lambda x: x)
        self.critic_terms, self.generator_terms = critic_terms, generator_terms
        self.penalty_weight = penalty_weight or self._constant(rules)
        self.augmenter = None
        if rules.augment is not None:
            if len(shape) != 3:
                raise ValueError(f"augmentations are of images, got examples of shape {shape}; give --augment None")
            if rules.augment == "ada" and (augment_p, rules.augment_target, rules.augment_p) == (None, None, 0.0):
                raise ValueError(
                    "ADA without a target holds its p, and p is 0, got --augment-target None and --augment-p 0; give "
                    "--augment-p a probability, or a target"
                )
            self.augmenter = Augmenter(
                rules.augment,
                groups=rules.augment_groups,
                policy=rules.augment_policy,
                p=rules.augment_p,
                target=None if augment_p else rules.augment_target,
                speed=rules.augment_speed,
                schedule=augment_p,
            )

    def game(self, players: dict[str, Player], latent: tuple[int, ...], sample: Generate | None = None) -> Game:
        """The game of these players; sample: what draws, by default the generator's `Sampler`."""
        state: dict[str, Stateful] = {} if self.augmenter is None else {"augment": self.augmenter}
        sampler = sample or Sampler(players["generator"])
        judge = Judge(players["critic"])
        return Game(players, self.play, sampler, latent, self.classes or None, critic=judge, state=state)

    def play(self, batches: Iterator[Batch], clock: Clock) -> Iterator[Move]:
        rules, x, y = self.rules, torch.empty(0), {}
        for step in range(rules.critic_steps):
            batch = next(batches)
            x, y = batch["x"], ({"y": batch["y"]} if self.classes else {})
            weight = self._penalty_now(clock, clock.round * rules.critic_steps + step)
            given = {"x": x, **y, **self.draws(clock, len(x)), **self._chances(clock, len(x), "real", "fake")}
            if weight is not None and rules.penalty not in SLOPES:
                given["eps"] = clock.uniform(len(x))
            if weight is not None and rules.penalty == "dragan":
                given["noise"] = self._noise(clock, self.real(x), given["eps"])
            yield Move(self.names[0], partial(self.critic, penalty=weight), given)
        weights = [(t, lazy(t.weight, t.every, clock.round)) for t in self.generator_terms]
        terms = [(t, weight) for t, weight in weights if weight is not None]
        seen = ("real", "fake") if self.losses.relative else ("fake",)
        given = {"x": x, **y, **self.draws(clock, len(x)), **self._chances(clock, len(x), *seen)}
        generator: Objective = partial(self.generator, terms=terms)
        yield Move(self.names[1], generator, given)
        if self.augmenter is not None:
            self.augmenter.after_round(clock)

    @staticmethod
    def _constant(rules: Rules) -> Schedule:
        weight = rules.penalty_weight
        if weight is None and rules.penalty is not None:
            raise ValueError(
                f"the penalty {rules.penalty} needs a weight, got None, for which only stylegan2 has a rule; "
                "give --penalty-weight a number, or --penalty None"
            )
        return lambda seen: weight or 0.0

    def _penalty_now(self, clock: Clock, move: int) -> float | None:
        """The penalty's weight in the critic's move of this number; None: not taken."""
        if self.rules.penalty is None:
            return None
        return lazy(self.penalty_weight(clock.seen), self.rules.penalty_every, move)

    def critic(self, batch: Batch, penalty: float | None) -> tuple[Tensor, dict[str, Tensor]]:
        """The critic's loss, with the penalty of this weight, or None without."""
        x, fake = self.real(batch["x"]), self.make(batch)
        taken: dict[str, Tensor] = {}  # whose sum is the penalty
        if penalty is not None and self.rules.penalty in SLOPES:
            real_logits, fake_logits, taken = self._with_slopes(x, fake, batch)
        else:
            real_logits, fake_logits = self._logits(x, fake, batch, self.joint)
            if penalty is not None:
                taken = {"penalty": self._penalty(x, fake, batch)}
        if self.augmenter is not None:
            differences = self.rules.loss in DIFFERENCES
            against = fake_logits if differences else UNDECIDED.get(self.rules.loss, 0.0)
            self.augmenter.observe(real_logits - against)
        loss = self.losses.critic(real_logits, fake_logits)
        told = {"real": real_logits.mean(), "fake": fake_logits.mean()}
        if self.augmenter is not None and self.augmenter.p is not None:
            told["augment_p"] = self.augmenter.p.to(real_logits.device, non_blocking=True)
        for term in self.critic_terms:
            told[term.name] = term.value(real_logits, fake_logits)
            loss = loss + term.weight * told[term.name]
        if penalty is not None:
            # R1 and R2 enter by half of their weight γ.
            loss = loss + (penalty / 2 if self.rules.penalty in SLOPES else penalty) * sum(taken.values())
        return loss, told | taken

    def generator(
        self, batch: Batch, terms: Sequence[tuple[GeneratorTerm, float]] = ()
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss, with further terms of these weights."""
        fake, y, told = self.make(batch), batch.get("y"), {}
        if self.losses.relative:
            # Apart: a graph through the real half would be walked for gradients that nobody uses.
            real_logits, fake_logits = self._logits(self.real(batch["x"]), fake, batch, joint=False)
        else:
            real_logits, fake_logits = None, self.D(self.seen(fake, batch, "fake"), y)
        loss = self.losses.generator(real_logits, fake_logits)
        for term, weight in terms:
            told[term.name] = term.value(batch)
            loss = loss + weight * told[term.name]
        return loss, told

    def _logits(self, x: Tensor, fake: Tensor, batch: Batch, joint: bool) -> tuple[Tensor, Tensor]:
        """The critic's logits of both, each augmented by draws of its own. joint: in one pass."""
        y = batch.get("y")
        x, fake = self.seen(x, batch, "real"), self.seen(fake, batch, "fake")
        if joint:
            real_logits, fake_logits = self.D(torch.cat([x, fake]), None if y is None else torch.cat([y, y])).chunk(2)
            return real_logits, fake_logits
        # Two passes: with BatchNorm in the critic, real and fake batches must be normalised apart.
        return self.D(x, y), self.D(fake, y)

    def _with_slopes(self, x: Tensor, fake: Tensor, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Logits and R1 (or R2, or both); gradients are with respect to what was not yet augmented.

        One of them alone is differentiated through its own half of the examples alone, and so not in a joint pass.
        """
        names = SLOPES[str(self.rules.penalty)]
        with twice_differentiable(x.device):
            given = {"r1": precise(x), "r2": precise(fake)}
            for name in names:
                # Fakes that depend on the critic, as LOGAN's do, keep their graph.
                if not given[name].requires_grad:
                    given[name] = given[name].detach().requires_grad_(True)
            real_logits, fake_logits = self._logits(given["r1"], given["r2"], batch, self.joint and len(names) == 2)
            logits = {"r1": real_logits, "r2": fake_logits}
            total = torch.stack([logits[name].sum() for name in names]).sum()
            slopes = torch.autograd.grad(total, [given[name] for name in names], create_graph=True)
            values = [slope.flatten(1).square().sum(1).mean() for slope in slopes]
        return real_logits, fake_logits, dict(zip(names, values, strict=True))

    def _penalty(self, x: Tensor, fake: Tensor, batch: Batch) -> Tensor:
        def D(between: Tensor) -> Tensor:
            return self.D(self.seen(between, batch, "real"), batch.get("y"))

        if self.rules.penalty == "dragan":
            return penalties.dragan_penalty(D, x, batch["noise"])
        return BETWEEN[str(self.rules.penalty)](D, x, fake, batch["eps"])

    @staticmethod
    def _noise(clock: Clock, x: Tensor, eps: Tensor) -> Tensor:
        """DRAGAN's δ (see `penalties.dragan_penalty`), by the deviation of the whole batch, of all processes."""
        x = precise(x)
        moments = [x.mean(), x.square().mean()]
        average_(moments, World(clock.rank, clock.world))
        std = (moments[1] - moments[0].square()).clamp_min(0).sqrt()
        return eps.view(-1, *[1] * (x.dim() - 1)) * (std / 2) * clock.uniform(*x.shape)

    def _chances(self, clock: Clock, n: int, *kinds: str) -> Batch:
        """The augmentation's random numbers for each kind of image, by names that begin with it."""
        if self.augmenter is None:
            return {}
        return {f"{kind}/{k}": v for kind in kinds for k, v in self.augmenter.draws(clock, n, self.shape).items()}

    def seen(self, x: Tensor, batch: Batch, kind: str) -> Tensor:
        """What the critic sees of images: themselves, or augmented by the batch's draws for the kind, real or fake."""
        if self.augmenter is None:
            return x
        draws = {k.removeprefix(f"{kind}/"): v for k, v in batch.items() if k.startswith(f"{kind}/")}
        return self.augmenter(x, draws)
