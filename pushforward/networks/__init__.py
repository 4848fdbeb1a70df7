"""Architectures, one a file. A generator is G(z [B, Z], y [B] or None) -> x; a critic D(x, y or None) -> logits [B]."""
