"""pushforward: train, measure and explain adversarial and other deep generative models."""

__version__ = "0.1.0"
