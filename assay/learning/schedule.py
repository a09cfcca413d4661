"""The learning rate at each step, as pure functions."""

import math

from assay.spec.learner import Learner

START, END = 25.0, 1e4
"""One-cycle starts at peak / START and ends at peak / START / END, as in Smith & Topin, *Super-Convergence* (2018)."""


def learning_rate(learner: Learner, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        learner: Resolved; reads learning_rate, schedule, warmup, milestones and gamma.
        step: From 0 to steps - 1.
        steps: Of the whole training.
    """
    peak, warm_steps = learner.learning_rate or 0.0, (learner.warmup or 0.0) * steps
    if learner.schedule == "one_cycle":
        return one_cycle(peak, step, steps, warm_steps)
    if step + 1 < warm_steps:
        return peak * (step + 1) / warm_steps
    if learner.schedule == "cosine":
        return cosine(peak, 0.0, max(0.0, step - warm_steps) / max(1.0, steps - 1 - warm_steps))
    if learner.schedule == "step":
        return peak * learner.gamma ** sum(step >= milestone * steps for milestone in learner.milestones)
    return peak


def one_cycle(peak: float, step: int, steps: int, warm_steps: float) -> float:
    """Rise along half a cosine until ``warm_steps``, then fall along another to next to nothing."""
    rising = warm_steps - 1
    if step < rising:
        return cosine(peak / START, peak, step / rising)
    return cosine(peak, peak / START / END, (step - rising) / max(1.0, steps - 1 - rising))


def cosine(start: float, end: float, share: float) -> float:
    """Go from ``start`` to ``end`` along half a cosine, as ``share`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * min(1.0, share))) / 2
