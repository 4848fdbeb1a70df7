"""Augmentations that gradients pass through, for critics with few examples, and what moves their probability."""
