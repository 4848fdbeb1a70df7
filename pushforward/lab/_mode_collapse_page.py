"""The page of mode collapse: films of the generators, their shares of the modes, and distances to the data."""

from dataclasses import dataclass

import numpy as np

from pushforward.lab._film import Film, Floats
from pushforward.lab._finding import Chart, Finding, Number, Part
from pushforward.report.charts import Figure, axes, curve, dots, heat, label

FRAMES, SHOWN = 6, 250  # pictures of a film, and points in each
MINIMAX, PLAIN, WGAN_GP = "minimax", "non-saturating", "WGAN-GP, 1 critic step"
DAMPED, R3GAN, FAST = "non-saturating, R1 and R2", "R3GAN", "non-saturating, fast critic"
COLOURS = {MINIMAX: "@c5", PLAIN: "@c1", WGAN_GP: "@c4", DAMPED: "@c0", R3GAN: "@c3", FAST: "@c2"}


@dataclass(frozen=True)
class Seen:
    """What was computed: films by the names of the ways to train, and the data seen alike; centres: of the modes.

    gamma, slope_weight: γ of R1 and R2, and λ of WGAN-GP.
    """

    films: dict[str, Film]
    data: Film
    centres: Floats
    critic_rate: float
    rate: float
    gamma: float
    slope_weight: float


def page(numbers: tuple[Number, ...], seen: Seen) -> Finding:
    """All that is drawn and said of it."""
    return Finding(
        "A slow critic lets the generator swing from mode to mode, until slopes are pulled to 0",
        "The generator moves to where the critic scores it best, and the critic takes time to learn that it came. With "
        "a critic ten times as slow as the generator, GANs swing over the modes and cover a few at a time. R1 and R2, "
        "which pull the critic's slopes to 0, damp this on the same networks with the same loss; so does a critic that "
        "keeps up. WGAN-GP's pull to a slope of 1, with one critic step a round, does not.",
        numbers,
        (_pictures(seen), _bands(seen), _measures(seen), _why(seen)),
        (
            "Mescheder et al. 2018, Which training methods for GANs do actually converge?, arXiv:1801.04406.",
            "Metz et al. 2017, Unrolled generative adversarial networks, arXiv:1611.02163.",
            "Gulrajani et al. 2017, Improved training of Wasserstein GANs, arXiv:1704.00028.",
            "Huang et al. 2025, The GAN is dead; long live the GAN! A modern GAN baseline, arXiv:2501.05441.",
        ),
    )


def _pictures(seen: Seen) -> Part:
    return Part(
        "What the generators make",
        "Each row is one run, each picture the same latents at a later round, the first before training; crosses "
        "are the eight modes. Networks, first weights, data and the generator's rate are the same in all rows, and all "
        "but the last have the slow critic. The first and the third differ in R1 and R2 alone, of weight "
        f"γ = {seen.gamma:g}. WGAN-GP has λ = {seen.slope_weight:g} and one critic step a round; its paper has 10 and "
        "five.\n\n"
        "Look at one row from left to right. A collapsed generator does not stay where it is: the critic learns that "
        "points there are fake, and the whole crowd, a streak or a clump, is thrown to the other side and past it. R1 "
        "and R2 keep the slow critic's crowd spread over all modes, as a loose cloud; the fast critic draws the ring.",
        (
            _reel("Collapsed and swinging: two losses with a slow critic", (PLAIN, WGAN_GP), seen),
            _reel(
                "Spread out: R1 and R2 with the same slow critic, and a critic as fast as the generator",
                (DAMPED, FAST),
                seen,
            ),
        ),
    )


def _reel(title: str, names: tuple[str, str], seen: Seen) -> Chart:
    """Two rows of pictures of the plane."""
    data: list[Figure] = []
    notes: list[Figure] = []
    layout: Figure = {"margin": {"l": 8, "r": 8, "t": 44, "b": 8}, "showlegend": False, "hovermode": False}
    hidden = {"range": [-4.5, 4.5], "showticklabels": False, "ticks": "", "zeroline": False, "showgrid": False}
    side = {**hidden, "mirror": True, "showline": True, "linecolor": "@line", "constrain": "domain"}
    cross = {"symbol": "cross-thin", "size": 7, "line": {"width": 1.3, "color": "@ink"}}
    for row, name in enumerate(names):
        film, top = seen.films[name], 1 - 0.54 * row
        for column, at in enumerate(np.linspace(0, len(film.rounds) - 1, FRAMES).round().astype(int)):
            left, number = column / FRAMES, 1 + row * FRAMES + column
            x, y = (f"{axis}{number if number > 1 else ''}" for axis in "xy")
            layout[f"xaxis{x[1:]}"] = {**side, "anchor": y, "domain": [left, left + 0.98 / FRAMES]}
            layout[f"yaxis{y[1:]}"] = {**side, "anchor": x, "scaleanchor": x, "domain": [top - 0.44, top]}
            place = {"xaxis": x, "yaxis": y}
            data.append({**dots(film.points[at][:SHOWN], name, f"{COLOURS[name]}/0.55", 4), **place})
            data.append({**dots(seen.centres, "modes", "@ink", 7), "marker": cross, **place})
            text, colour = (f"round {film.rounds[at]}", "@soft") if column else (name, COLOURS[name])
            notes.append(label(text, left, top + 0.01, colour=colour, anchor="left"))
    return Chart(
        title,
        {"data": data, "layout": {**layout, "annotations": notes}},
        f"Samples at {FRAMES} rounds: {names[0]} above, {names[1]} below",
        tall=True,
        wide=True,
    )


def _bands(seen: Seen) -> Part:
    every = {**seen.films, "the data itself, sampled anew at each look": seen.data}
    return Part(
        "Who has which mode, and when",
        "One line is one mode, in their order round the ring, and a sample counts for the mode nearest to it. Dark is "
        "a large share; an eighth is the colour of the data's picture. Patches that jump from line to line are a "
        "generator that swings to and fro. With R1 and R2 the pattern fades as training goes on, and does so under two "
        "losses: the non-saturating one, which swings without them, and R3GAN's, which compares real with fake.",
        tuple(
            Chart(
                name[0].upper() + name[1:],
                _shares(film),
                f"Heat map of the shares of eight modes over rounds: {name}",
                wide=film is seen.data,
            )
            for name, film in every.items()
        ),
    )


def _shares(film: Film) -> Figure:
    trace = heat(film.rounds, np.arange(1, film.counts.shape[1] + 1), film.shares.T, "share")
    layout = axes("round", "mode")
    layout["yaxis"] |= {"dtick": 1, "showgrid": False}
    layout["margin"] = {**layout["margin"], "t": 10}
    return {"data": [{**trace, "zmin": 0, "zmax": 0.6}], "layout": layout}


def _measures(seen: Seen) -> Part:
    films, data = seen.films, seen.data
    samples, matched = data.points.shape[1], len(data.reference)
    floor = (data.counts.shape[1] - 1) / (2 * samples)
    ends = [0, int(data.rounds[-1])]
    kl = [curve(film.rounds, np.maximum(film.kl, 1e-4), name, COLOURS[name], width=1.7) for name, film in films.items()]
    kl.append(curve(ends, [floor, floor], "data: 7/2n", "@soft", width=1.5, dash="dash"))
    far = [
        curve(film.rounds[::-4][::-1], film.distance, name, COLOURS[name], width=1.7) for name, film in films.items()
    ]
    away = axes("round", "W₂", ylog=True)
    away["yaxis"] |= {"tickvals": [0.5, 1, 2, 5, 10, 20]}
    late = {name: float(film.kl[-(len(film.kl) // 3) :].mean()) for name, film in films.items()}
    nearest = float(data.distance.mean())
    far.append(curve(ends, [nearest, nearest], "data against data", "@soft", width=1.5, dash="dash"))
    return Part(
        "In numbers",
        f"The KL divergence of the modes' shares to equal ones, from {samples:,} samples. A single mode has log 8 = "
        "2.08, two modes log 4; a sample of the data itself has 7/2n, for no sample is quite even. KL sees shares "
        "only, W₂ also how far points lie from the modes. It is exact, between samples, and not 0 for the data "
        "either.\n\n"
        "The last chart has one point a run: how much of the crowd changes its mode between two looks, and how many "
        "modes it covers at a time. The non-saturating runs differ in one thing each: "
        "R1 and R2, or the critic's rate.",
        (
            Chart(
                "KL of the shares to uniform",
                {"data": kl, "layout": axes("round", "nats", ylog=True)},
                "In the last third, on average: " + "; ".join(f"{name} {value:.2g}" for name, value in late.items()),
                wide=True,
            ),
            Chart(
                f"W₂ to the data, {matched} samples each",
                {"data": far, "layout": away},
                "Exact distances between samples, at every fourth look: "
                + "; ".join(f"{name} {film.distance[-1]:.2g} at the end" for name, film in films.items()),
                wide=True,
            ),
            _both(seen),
        ),
        ("KL = Σ p log 8p = log 8 − H(p),   effective modes e^H = 8 e^(−KL)",),
    )


def _both(seen: Seen) -> Chart:
    """One point a run: coverage against swinging."""
    at = {name: (film.late_moved, film.late_effective) for name, film in seen.films.items()}
    chance = float(seen.data.moved.mean()), float(seen.data.effective.mean())
    points = [{**dots(np.array([at[name]]), name, COLOURS[name], 12)} for name in at]
    points.append({**dots(np.array([chance]), "the data itself", "@ink", 12)})
    layout = axes("share that changes its mode between two looks", "effective modes")
    layout["xaxis"] |= {"range": [0, 1.05 * max(x for x, _ in at.values())]}
    layout["yaxis"] |= {"range": [0, 8.6]}
    told = "; ".join(f"{name} {modes:.1f} modes, {moved:.2f} moved" for name, (moved, modes) in at.items())
    return Chart(
        "A crowd that swings covers few modes at a time (last third of training)",
        {"data": points, "layout": layout},
        told,
        wide=True,
    )


def _why(seen: Seen) -> Part:
    return Part(
        "Why",
        "For a fixed critic the best answer is a single point, the one with the highest score: no loss of the "
        "generator asks for more than one. What spreads it is that the critic's best point moves. If the critic needs "
        "many rounds for that, the generator has long gathered there, and both then move on: the circling of the "
        "Dirac-GAN, among modes in place of around 0.\n\n"
        "So what decides is how fast the critic is against the generator, here "
        f"{seen.critic_rate:g} against {seen.rate:g}. A fast critic never lets the crowd gather. A zero-centred "
        "penalty takes away the slope that the crowd would follow, on real points (R1) and on the crowd's own (R2). "
        "WGAN-GP keeps that slope at 1, and relies on several steps of the critic for each of the "
        "generator's; with one slow step it swings much as without a penalty.",
    )
