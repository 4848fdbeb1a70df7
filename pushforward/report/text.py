"""Numbers and words as a page shows them."""

import html
import json
import math
from typing import Any

import numpy as np


def escape(value: Any) -> str:
    """Text that no browser takes for markup, in an element or in an attribute."""
    return html.escape(str(value), quote=True)


def number(value: float, digits: int = 4) -> str:
    """`digits` significant digits, thousands with commas; counts are whole."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) < 1e12 and (value == int(value) or abs(value) >= 1000):
        text = f"{value:,.0f}"
    else:
        text = f"{value:.{digits}g}".replace("e-0", "e-").replace("e+", "e")
    return text.replace("-", "−") if "e" not in text else text


def spaced(name: str) -> str:
    """`high_quality` as `high quality`."""
    return name.replace("_", " ")


def count(n: int, noun: str) -> str:
    """`1 example`, `2,000 examples`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def duration(seconds: float) -> str:
    """The two largest of hours, minutes and seconds."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{number(seconds, 3)} s"


def embed(value: Any) -> str:
    """JSON in a data block of the page; what is not finite becomes null, and no `<` is left to end the block."""
    text = json.dumps(_finite(value), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    harmless = text.replace("<", "\\u003c")
    return f'<script type="application/json">{harmless}</script>'


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, np.ndarray):
        return _finite(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value
