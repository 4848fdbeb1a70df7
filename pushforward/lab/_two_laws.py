"""Two laws of the line that a critic is to tell apart: both have bumps of their own, and a broad part that they share.

The broad part keeps p/q between 0.17 and 3.3: every divergence is finite, and every best critic bounded.
"""

from torch import Tensor

from pushforward.lab._laws import LineMixture

P = LineMixture((-1.6, 1.2, 0.0), (0.45, 0.6, 2.0), (0.35, 0.4, 0.25))
Q = LineMixture((-0.2, 0.0), (0.9, 2.0), (0.75, 0.25))


def log_ratio(x: Tensor) -> Tensor:
    """log p(x)/q(x), of the shape of x."""
    return P.log_prob(x) - Q.log_prob(x)
