"""Losses, penalties and divergences as plain functions, usable from any training loop."""
