"""People tell real images from generated ones, in a page served on this machine; 50 % of errors: indistinguishable.

`serve` runs the test until Ctrl-C and returns its `Judgement`, `serving` is the same as a context, `read_judgement`
scores a folder of answers again, `table` shows a judgement. After Zhou et al. 2019, arXiv:1904.01121 (HYPE).
"""

from pathlib import Path

from pushforward.judge.answers import read
from pushforward.judge.panel import ANSWERS, read_design
from pushforward.judge.score import Judgement, RaterScore, judgement, table
from pushforward.judge.server import JudgeServer, serve, serving
from pushforward.judge.trial import Design, Trial

__all__ = [
    "Design",
    "JudgeServer",
    "Judgement",
    "RaterScore",
    "Trial",
    "read_judgement",
    "serve",
    "serving",
    "table",
]


def read_judgement(folder: Path) -> Judgement:
    """Scores the answers that a folder holds, also while a server adds to them. Raises ValueError where it has none."""
    return judgement(read(folder / ANSWERS), read_design(folder))
