"""Round numbers for axes.

Belongs here: steps, ends and ticks of linear axes. Does not: drawing (`charts.py`, `study/`).
"""

from __future__ import annotations

import math


def round_step(raw: float) -> float:
    """Give the smallest of 1, 2, 5, 10 times a power of ten that is at least `raw`."""
    scale = 10.0 ** math.floor(math.log10(max(raw, 1e-6)))
    return next(scale * nice for nice in (1.0, 2.0, 5.0, 10.0) if scale * nice >= raw - 1e-12)


def round_up(value: float) -> float:
    """Round a scale's end up to one or two significant digits."""
    step = round_step(max(value, 1e-6) / 6)
    return step * math.ceil(value / step - 1e-9)


def list_ticks(low: float, high: float) -> list[float]:
    """Give round values within two ends, about six."""
    step = round_step((high - low) / 6)
    first = math.ceil(low / step - 1e-9)
    return [step * k for k in range(first, math.floor(high / step + 1e-9) + 1)]


def round_ends(low: float, high: float) -> tuple[float, float]:
    """Widen two ends to round values, so that a mark at either is inside the frame."""
    step = round_step(max(high - low, 1e-3) / 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return step * first, step * max(last, first + 1)


def tick_digits(ticks: list[float]) -> int:
    """Give the decimals that tell neighbouring ticks apart."""
    is_coarse = len(ticks) > 1 and ticks[1] - ticks[0] >= 0.01 - 1e-9
    return 2 if is_coarse else 3
