"""The optimal critic: trained to tell two laws apart, D becomes p/(p + q), and its score the Jensen–Shannon divergence.

Goodfellow et al. 2014, arXiv:1406.2661, Proposition 1 and Theorem 1.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.core.ema import EMA
from pushforward.core.seeding import numpy_generator, torch_generator, torch_seeded
from pushforward.data.toy import Mixture
from pushforward.lab import Tell
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.lab._laws import Grid, LineMixture
from pushforward.networks.mlp import Critic
from pushforward.objectives.adversarial import minimax
from pushforward.objectives.divergence import gan, jensen_shannon
from pushforward.report.charts import Figure, axes, curve, dots, heat, plane
from pushforward.report.text import number

P = LineMixture((-1.6, 1.2, 0.0), (0.45, 0.6, 2.0), (0.35, 0.4, 0.25))
Q = LineMixture((-0.2, 0.0), (0.9, 2.0), (0.75, 0.25))
GRID = Grid.between(-16, 16, 1601)
BATCH, RATE, AVERAGED = 512, 1e-2, 40_000  # draws of each law a step; Adam's rate; half-life of the average, in draws
SHIFTS = (0.0, 0.7, 1.5, 3.0, 5.0)
BINS = 12
FAR = 6.2  # of draws of either law, one in 2,000 is farther from 0
FRESH = 40_000  # draws of each law, for calibration

# A wheel of five bumps against one broad bump; own names, as these laws are in no catalogue.
WHEEL = Mixture("wheel", 0.35, 1.0, tuple((1.6 * math.cos(a), 1.6 * math.sin(a)) for a in 0.4 * math.pi * np.arange(5)))
BLOB = Mixture("blob", 1.3, 1.0, ((0.0, 0.0),))
EXTENT, CELLS = 3.6, 81
LOG4 = math.log(4)

Draw = Callable[[], tuple[Tensor, Tensor]]
Seen = Callable[[int, nn.Module], None]


@dataclass(frozen=True)
class Config:
    seed: int = 0
    """Seed of the networks and of all draws."""
    steps: int = 1200
    """Steps of the critic, each on fresh draws."""
    width: int = 32
    """Units in each of its three hidden layers."""

    def __post_init__(self) -> None:
        if self.steps < 100 or self.width < 8:
            raise ValueError(
                f"a critic near its optimum takes 100 steps and 8 units or more, got {self.steps} and {self.width}; "
                "raise them"
            )


@dataclass(frozen=True)
class _Line:
    """A critic of two laws of the line. logits: on the grid; values: E_P log D + E_Q log(1 − D) after these steps."""

    logits: Tensor
    steps: np.ndarray
    values: np.ndarray
    net: nn.Module

    @property
    def value(self) -> float:
        return float(self.values[-1])


def run(cfg: Config, tell: Tell) -> Finding:
    """A GAN's critic on laws of the line, equal, apart and moving away, and on two laws of the plane."""
    apart = _learned(cfg, P, Q, "apart", cfg.steps)
    tell(0.3)
    moved = []
    for shift in SHIFTS:
        moved.append(_learned(cfg, _normal(0.0), _normal(shift), f"shift {shift:g}", cfg.steps // 3))
        tell(0.3 + 0.08 * len(moved))
    net, flat = _plane(cfg)
    tell(0.95)
    told = _told(cfg, apart)
    tell(1.0)
    return Finding(
        "The best critic is p/(p + q), and its score is a divergence",
        "A network that is trained to tell draws of P from draws of Q ends as a formula in their densities, which it "
        "never saw. Its score at the end is 2 JS(P, Q) − log 4, so that a generator that fools it lowers JS.",
        _numbers(cfg, apart, moved, flat, told),
        (
            _curves(apart),
            _values(apart, moved),
            _calibration(told),
            _rare(apart),
            _heats(net, flat),
        ),
        ("Goodfellow et al. 2014, Generative adversarial nets, arXiv:1406.2661, Proposition 1 and Theorem 1.",),
    )


def _normal(mean: float) -> LineMixture:
    return LineMixture((mean,), (1.0,))


def _optimum(p: LineMixture, q: LineMixture) -> float:
    """2 JS − log 4 by quadrature."""
    densities = torch.stack([p.prob(GRID.x), q.prob(GRID.x)])
    middle = densities.mean(0)
    return GRID.integral(torch.special.xlogy(densities, densities / middle).nan_to_num().sum(0)).item() - LOG4


def _value(p: LineMixture, q: LineMixture, logits: Tensor) -> float:
    """E_P log D + E_Q log(1 − D) by quadrature, from logits on the grid."""
    return GRID.integral(p.prob(GRID.x) * gan.activation(logits) - q.prob(GRID.x) * gan.conjugate_at(logits)).item()


def _trained(cfg: Config, key: str, dimensions: int, steps: int, draw: Draw, seen: Seen) -> nn.Module:
    """An averaged critic after `steps` of the minimax loss, at a rate that falls to zero.

    draw() -> (real, fake), [BATCH, D] each; seen(step, critic) is called now and then, and at the end.
    """
    with torch_seeded("lab", "optimal-critic", cfg.seed, key):
        net = Critic((dimensions,), width=cfg.width, depth=3)
    nets = nn.ModuleDict({"critic": net})
    average = EMA(nets, half_life=AVERAGED)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.9, 0.99))
    for step in range(steps + 1):
        if step in _moments(steps):
            seen(step, average.nets["critic"])
        for group in optimizer.param_groups:
            group["lr"] = RATE * (1 + math.cos(math.pi * step / steps)) / 2
        real, fake = net(torch.cat(draw())).split(BATCH)
        loss = minimax.critic(real, fake)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update(nets, (step + 1) * BATCH)
    return average.nets["critic"]


def _moments(steps: int) -> set[int]:
    """Steps at which a critic is looked at: every one at first, then ever fewer."""
    return {0, *np.unique(np.geomspace(1, steps, 60).round().astype(int)).tolist()}


def _learned(cfg: Config, p: LineMixture, q: LineMixture, key: str, steps: int) -> _Line:
    generator = torch_generator("lab", "optimal-critic", "draws", cfg.seed, key)
    rows, logits = [], []

    def draw() -> tuple[Tensor, Tensor]:
        real, fake = (law.sample(generator, BATCH).float()[:, None] for law in (p, q))
        return real, fake

    def seen(step: int, critic: nn.Module) -> None:
        with torch.no_grad():
            logits[:] = [critic(GRID.x.float()[:, None]).double()]
        rows.append((step, _value(p, q, logits[0])))

    net = _trained(cfg, key, 1, steps, draw, seen)
    taken, values = np.array(rows).T
    return _Line(logits[0], taken, values, net)


def _points(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x).float()


def _cells() -> np.ndarray:
    """Middles of the cells of the plane's heat maps: [CELLS², 2], row by row from below."""
    line = np.linspace(-EXTENT, EXTENT, CELLS)
    return np.stack([v.ravel() for v in np.meshgrid(line, line)], 1)


def _plane(cfg: Config) -> tuple[np.ndarray, dict[str, float]]:
    """The learned D on the cells, and its value and the best one, by quadrature on a finer and wider square."""
    rng = numpy_generator("lab", "optimal-critic", "plane", cfg.seed)

    def draw() -> tuple[Tensor, Tensor]:
        return _points(WHEEL.sample(rng, BATCH)[0]), _points(BLOB.sample(rng, BATCH)[0])

    net = _trained(cfg, "plane", 2, cfg.steps, draw, lambda step, critic: None)
    line = np.linspace(-9, 9, 241)
    x = np.stack([v.ravel() for v in np.meshgrid(line, line)], 1)
    area = float(line[1] - line[0]) ** 2
    p, q = (torch.from_numpy(np.exp(law.log_density(x))) for law in (WHEEL, BLOB))
    with torch.no_grad():
        v, shown = net(_points(x)).double(), net(_points(_cells())).double()
    value = ((p * gan.activation(v) - q * gan.conjugate_at(v)).sum() * area).item()
    middle = (p + q) / 2
    divergence = (torch.special.xlogy(p, p / middle) + torch.special.xlogy(q, q / middle)).sum().item() * area
    return torch.sigmoid(shown).numpy(), {"value": value, "best": divergence - LOG4}


@dataclass(frozen=True)
class _Told:
    """Fresh draws in bins of D: the mean of D, the share that is of P, its standard error, and how many; all [BINS]."""

    said: np.ndarray
    share: np.ndarray
    error: np.ndarray
    count: np.ndarray


def _told(cfg: Config, line: _Line) -> _Told:
    generator = torch_generator("lab", "optimal-critic", "fresh", cfg.seed)
    x = torch.cat([law.sample(generator, FRESH) for law in (P, Q)]).float()[:, None]
    with torch.no_grad():
        said = torch.sigmoid(line.net(x)).double().numpy()
    real = np.arange(2 * FRESH) < FRESH
    # Bins of equal counts, so that no share rests on a handful.
    order = np.array_split(np.argsort(said), BINS)
    share = np.array([real[part].mean() for part in order])
    count = np.array([len(part) for part in order])
    mean = np.array([said[part].mean() for part in order])
    return _Told(mean, share, np.sqrt(share * (1 - share) / count), count)


def _star(x: Tensor) -> Tensor:
    """D* = p/(p + q)."""
    return torch.sigmoid(P.log_prob(x) - Q.log_prob(x))


def _numbers(cfg: Config, apart: _Line, moved: list[_Line], flat: dict[str, float], told: _Told) -> tuple[Number, ...]:
    best = _optimum(P, Q)
    both = (P.prob(GRID.x) + Q.prob(GRID.x)) / 2
    with torch.no_grad():
        d = torch.sigmoid(apart.logits)
    error = GRID.integral(both * (d - _star(GRID.x)).square()).sqrt().item()
    ratio = gan.ratio(apart.logits)
    off = GRID.integral(both * (ratio.log() - P.log_prob(GRID.x) + Q.log_prob(GRID.x)).abs()).item()
    lost = [line.value - _optimum(_normal(0.0), _normal(s)) for line, s in zip(moved, SHIFTS, strict=True)]
    calibration = float((told.count * np.abs(told.share - told.said)).sum() / told.count.sum())
    noise = float((told.count * told.error).sum() / told.count.sum())
    js = _exact_js()
    return (
        Number(
            "root mean square of D − p/(p + q), over draws of both laws",
            error,
            0.0,
            0.025,
            why="Proposition 1. Slack: a network of finite width after finitely many draws",
        ),
        Number(
            "value of the learned critic, E_P log D + E_Q log(1 − D)",
            apart.value,
            best,
            0.003,
            why="2 JS − log 4, JS in nats, by quadrature. Slack: an error of 0.025 in D costs its square over D(1 − D)",
        ),
        Number(
            "the same, and no more",
            max([apart.value - best, *lost, flat["value"] - flat["best"]]),
            0.0,
            1e-6,
            "≤",
            "no critic of any pair of laws passes its optimum; slack: single precision",
        ),
        Number(
            "value for equal laws",
            moved[0].value,
            -LOG4,
            0.002,
            why="Theorem 1: −log 4 = −1.386, where D = ½ everywhere and nothing is left to tell",
        ),
        Number(
            f"value for normal laws {SHIFTS[-1]:g} apart",
            moved[-1].value,
            _optimum(_normal(0.0), _normal(SHIFTS[-1])),
            0.005,
            why="2 JS − log 4 by quadrature. Slack: as above",
        ),
        Number(
            "value at p/(p + q) itself",
            _value(P, Q, P.log_prob(GRID.x) - Q.log_prob(GRID.x)),
            2 * js - LOG4,
            1e-9,
            why="the library's Jensen–Shannon generator, integrated against Q; slack: float64",
        ),
        Number(
            "mean error of log p/q, read back as log D/(1 − D)",
            off,
            0.0,
            0.1,
            why="a critic is a density ratio. Slack: logits err most where D is near 0 or 1 or draws are rare",
        ),
        Number(
            f"mean of |share of P − D| over {BINS} bins of fresh draws",
            calibration,
            0.0,
            0.015 + noise,
            why=f"p/(p + q) is the chance that a draw is of P. Slack: the critic's error, and {noise:.2g} of sampling",
        ),
        Number(
            "value in the plane",
            flat["value"],
            flat["best"],
            0.03,
            why="2 JS − log 4 by quadrature. Slack: the same steps for a harder function",
        ),
    )


def _exact_js() -> float:
    q = Q.prob(GRID.x)
    return GRID.integral(q * jensen_shannon.f((P.log_prob(GRID.x) - Q.log_prob(GRID.x)).exp())).item()


def _curves(apart: _Line) -> Part:
    seen = GRID.x.abs() <= 6
    x = GRID.x[seen]
    layout = axes("x", "D(x), and densities")
    layout["yaxis"]["range"] = [0, 1]
    main = [
        curve(x.numpy(), P.prob(x).numpy(), "p", "@c1/0.7", width=1.5),
        curve(x.numpy(), Q.prob(x).numpy(), "q", "@c2/0.7", width=1.5),
        curve(x.numpy(), torch.sigmoid(apart.logits[seen]).numpy(), "D, learned", "@c0", width=2.6),
        curve(x.numpy(), _star(x).numpy(), "p/(p + q)", "@ink", width=1.6, dash="dash"),
    ]
    ratio = [
        curve(x.numpy(), gan.ratio(apart.logits[seen]).numpy(), "D/(1 − D), learned", "@c0", width=2.2),
        curve(x.numpy(), (P.log_prob(x) - Q.log_prob(x)).exp().numpy(), "p/q", "@ink", width=1.6, dash="dash"),
    ]
    return Part(
        "A network becomes a formula",
        "Look at how the learned D follows p/(p + q), up where P is the denser law and down where Q is. The network "
        "saw draws with a label each, and never a density.\n\n"
        "Why this curve: at each x, a share p of what falls there asks for a high D, by log D, and a share q for a low "
        "one, by log(1 − D). The sum p log D + q log(1 − D) is largest at D = p/(p + q), whatever happens elsewhere. "
        "Turned round, D/(1 − D) is the density ratio p/q. Every other thing that a GAN's critic can be used for, "
        "such as weighting draws, rejecting some, or estimating a divergence, starts here.",
        (
            Chart(
                "The learned critic, and p/(p + q)",
                {"data": main, "layout": layout},
                "The learned curve lies on the dashed one wherever either density is visible",
                wide=True,
                tall=True,
            ),
            Chart(
                "The density ratio, read back",
                {"data": ratio, "layout": axes("x", "p/q")},
                "Two bumps, learned and true, that nearly coincide",
                wide=True,
            ),
        ),
        ("max_D { p log D + q log(1 − D) }  at  D* = p/(p + q),   p/q = D*/(1 − D*)",),
    )


def _values(apart: _Line, moved: list[_Line]) -> Part:
    best = _optimum(P, Q)
    seen = apart.steps > 0
    x = apart.steps[seen]
    layout = axes("steps", "score", xlog=True)
    layout["yaxis"]["range"] = [-LOG4 - 0.1, best + 0.06]
    flat = {"width": 1.5, "dash": "dash"}
    learning = [
        curve(x, apart.values[seen], "learned", "@c0", width=2.4),
        curve(x[[0, -1]], [best, best], "2 JS − log 4", "@ink", **flat),
        curve(x[[0, -1]], [-LOG4, -LOG4], "−log 4", "@soft", width=1.5, dash="dot"),
    ]
    fine = np.linspace(0, 6, 121)
    theory = [_optimum(_normal(0.0), _normal(s)) for s in fine]
    ends = np.array([(s, line.value) for s, line in zip(SHIFTS, moved, strict=True)])
    moving = [
        curve(fine, theory, "2 JS − log 4", "@ink", **flat),
        curve(fine[[0, -1]], [0, 0], "0: told apart for sure", "@soft", width=1.5, dash="dot"),
        dots(ends, "a critic trained for each", "@c0", 11),
    ]
    return Part(
        "Its score is a divergence",
        "The critic's score rises to 2 JS(P, Q) − log 4 and stops. For equal laws there is nothing to learn, D is ½ "
        "everywhere, and the score is −log 4: this is the only place where a generator can't be told from the data. "
        "For laws that never meet it is 0.\n\nOn the right, P and Q are normal laws with means ever further apart, and "
        "a new critic learns each pair. The curve is steep in the middle and flat at both ends. Flat on the right "
        "means that a generator far from the data hardly feels its critic: minimax gradients vanish there.",
        (
            Chart("The score as the critic learns", {"data": learning, "layout": layout}, "A curve rising to a line"),
            Chart(
                "The score of trained critics, as Q moves away",
                {"data": moving, "layout": axes("distance of the means", "score")},
                "Dots on a dashed curve that starts at −log 4 and rises towards 0",
            ),
        ),
        ("V(D*) = E_P log D* + E_Q log(1 − D*) = 2 JS(P, Q) − log 4",),
    )


def _calibration(told: _Told) -> Part:
    layout = axes("D says", "share that is of P")
    bar = {"type": "data", "array": 1.96 * told.error, "color": "@c0", "thickness": 1.5, "width": 3}
    marks = {"x": told.said, "y": told.share, "error_y": bar, "marker": {"color": "@c0", "size": 8}}
    end = [0, 1]
    figure = {
        "data": [
            curve(end, end, "calibrated", "@ink", width=1.5, dash="dash"),
            {"type": "scatter", "mode": "markers", "name": f"{BINS} bins, with 95 % intervals", **marks},
        ],
        "layout": layout,
    }
    off = {**bar, "color": "@c3"}
    rest = {"x": told.said, "y": told.share - told.said, "error_y": off, "marker": {"color": "@c3", "size": 8}}
    zero = curve(end, [0, 0], "calibrated", "@ink", width=1.5, dash="dash")
    spread = {
        "data": [zero, {"type": "scatter", "mode": "markers", "name": "share − D", **rest}],
        "layout": axes("D says", "share of P less D"),
    }
    return Part(
        "What it says can be believed",
        f"Fresh draws are sorted by what the critic says of them, into {BINS} bins of equal counts. Of those that it "
        "gives 70 %, about 70 % are of P. This holds because the loss is a proper score, the likelihood of the labels: "
        "it is best to say what is so. A hinge or a Wasserstein critic has no such reading.",
        (
            Chart("Reliability on fresh draws", figure, "Points along the diagonal"),
            Chart("The same, less the diagonal", spread, "Points around zero, within a few hundredths"),
        ),
        ("P(draw is of P | x) = p/(p + q) = D*(x), where both laws are drawn equally often",),
    )


def _rare(apart: _Line) -> Part:
    wide = GRID.x.abs() <= 14
    x = GRID.x[wide]
    both = (P.prob(x) + Q.prob(x)) / 2
    off = (apart.logits[wide] - P.log_prob(x) + Q.log_prob(x)).abs()
    density, error = _by_density(both, off)
    layout = axes("density (p + q)/2", "error of log p/q", xlog=True, ylog=True)
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"dtick": 2 if axis == "xaxis" else 1, "exponentformat": "power"}
        layout[axis].pop("tickformat")
    logits = [
        curve(x.numpy(), apart.logits[wide].numpy(), "learned", "@c0", width=2.2),
        curve(x.numpy(), (P.log_prob(x) - Q.log_prob(x)).numpy(), "log p/q", "@ink", width=1.6, dash="dash"),
    ]
    shade = [v for edge in (-FAR, FAR) for v in (edge, edge, None)]
    low, high = apart.logits[wide].min().item() - 0.5, apart.logits[wide].max().item() + 0.5
    logits.append(curve(shade, [low, high, None] * 2, "one draw in 2,000 is beyond", "@soft", width=1.2, dash="dot"))
    return Part(
        "Where nothing is drawn, anything goes",
        "The score weighs each x by p + q. Where both are small the critic may say what it likes at no cost. Towards "
        "the dotted lines and beyond, its logit leaves the true one and runs on as a straight line: the ratio there is "
        "1, and hardly a draw says so.\n\n"
        "This matters in training. A young generator puts its draws where data are rare, and there the critic "
        "extrapolates. What keeps it honest is that the next round shows it those very draws.",
        (
            Chart(
                "Logits far out",
                {"data": logits, "layout": axes("x", "logit")},
                "The learned logit follows the true one in the middle and departs on both sides",
            ),
            Chart(
                "Error over density",
                {
                    "data": [{**curve(density, error, "", "@c1", shown=False), "mode": "lines+markers"}],
                    "layout": layout,
                },
                "A curve that falls from the rare to the dense",
            ),
        ),
    )


def _by_density(density: Tensor, error: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Root mean square errors in bins of density, half a decade each; bins without points are left out."""
    bins = (density.log10() * 2).floor()
    kept = [b for b in bins.unique() if b >= -20]
    x = [10 ** (b.item() / 2 + 0.25) for b in kept]
    return np.array(x), np.array([error[bins == b].square().mean().sqrt().item() for b in kept])


def _heats(learned: np.ndarray, flat: dict[str, float]) -> Part:
    cells, line = _cells(), np.linspace(-EXTENT, EXTENT, CELLS)
    star = 1 / (1 + np.exp(BLOB.log_density(cells) - WHEEL.log_density(cells)))
    box = (-EXTENT, EXTENT, -EXTENT, EXTENT)

    def shown(values: np.ndarray, label: str) -> Figure:
        picture = heat(line, line, values.reshape(CELLS, CELLS), label)
        return {"data": [{**picture, "zmin": 0, "zmax": 1}], "layout": plane(box, "x₁", "x₂")}

    return Part(
        "In the plane",
        "P is a wheel of five bumps, Q one broad bump over all of them. The learned critic finds the five, their "
        f"depth and the dark between them. Its score is {number(flat['value'])}, the best one {number(flat['best'])}. "
        "Corners, where both laws are rare, are again its own invention.",
        (
            Chart("D, learned", shown(learned, "D"), "A heat map with five bright spots on a circle", tall=True),
            Chart("p/(p + q)", shown(star, "D*"), "A heat map with five bright spots on a circle", tall=True),
        ),
    )
