"""Games whose networks grow while they play. Karras et al. 2018, arXiv:1710.10196 (ProGAN), Section 2."""

from collections.abc import Iterator
from dataclasses import replace

from pushforward.core.game import Batch, Clock, Game, Move
from pushforward.layers.growth import Growth, stage_at


def growing(game: Game, levels: int, phase: int, first: int = 0) -> Game:
    """`game` with all its networks, averages included, at the stage that follows from the examples seen.

    levels, phase: see `stage_at`; first: the level to begin with. Adam's moments are forgotten when a level begins to
    fade in, and when it has, as in the authors' code.
    """
    players = list(game.players.values())
    nets = [n for p in players for n in (p.nets, *([p.ema.nets] if p.ema else []))]
    growths = [m for n in nets for m in n.modules() if isinstance(m, Growth)]

    def play(batches: Iterator[Batch], clock: Clock) -> Iterator[Move | tuple[Move, ...]]:
        stage, former = stage_at(clock.seen + 2 * phase * first, levels, phase), growths[0].stage
        if (stage.level, stage.alpha < 1) != (former.level, former.alpha < 1):
            for player in players:
                player.optimizer.state.clear()
        for growth in growths:
            growth.set(stage)
        yield from game.play(batches, clock)

    return replace(game, play=play)


def phase_of(examples: int, levels: int, most: int) -> int:
    """Examples of a phase: `most`, or so many that the last of all levels is there after three quarters of the run."""
    return max(1, min(most, 3 * examples // (8 * max(levels, 1))))
