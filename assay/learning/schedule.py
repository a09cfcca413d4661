"""The learning rate at each step, as pure functions."""

import math

START, END = 25.0, 1e4
"""One-cycle starts at peak / START and ends at peak / START / END, as in Smith & Topin, *Super-Convergence* (2018)."""


def learning_rate(schedule: str, peak: float, step: int, steps: int, warmup: float) -> float:
    """Return the learning rate of a step.

    Args:
        schedule: one_cycle, cosine or constant.
        peak: Largest learning rate.
        step: From 0 to steps - 1.
        steps: Of the whole training.
        warmup: Share of the steps in which one_cycle rises.
    """
    if schedule == "constant":
        return peak
    last = max(1, steps - 1)
    if schedule == "cosine":
        return cosine(peak, 0.0, step / last)
    rising = warmup * steps - 1
    if step < rising:
        return cosine(peak / START, peak, step / rising)
    return cosine(peak, peak / START / END, (step - rising) / max(1.0, last - rising))


def cosine(start: float, end: float, share: float) -> float:
    """Go from ``start`` to ``end`` along half a cosine, as ``share`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
