"""Recipes side by side: each trained with each seed for the same time or examples, measured, and put on one page."""
