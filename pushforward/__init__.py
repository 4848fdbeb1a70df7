"""pushforward: train, measure and explain adversarial and other deep generative models."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pushforward.export.generator import load_generator as load_generator
    from pushforward.run import Run as Run
    from pushforward.session import resume as resume
    from pushforward.session import train as train

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Loaded at their first use, all of the names above: importing this package must not import torch."""
    if name in ("train", "resume"):
        from pushforward import session

        return getattr(session, name)
    if name == "Run":
        from pushforward.run import Run

        return Run
    if name == "load_generator":
        from pushforward.export.generator import load_generator

        return load_generator
    raise AttributeError(f"module 'pushforward' has no attribute {name!r}")
