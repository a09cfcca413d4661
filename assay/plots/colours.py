"""Colours that all plots and charts share; this module needs no drawing library."""

from collections.abc import Iterable

INK = "#1F2933"
FAINT = "#52606D"
GRID = "#E4E7EB"
GREY = "#9AA5B1"
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
"""Colours that colour-blind readers can tell apart (Okabe and Ito, Color Universal Design, 2008)."""

SUBSET_COLOURS = {"train": BLUE, "validation": ORANGE, "test": GREEN}

EXPERIMENT_COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY)
"""Of the best experiments in a comparison, in this order; further ones are grey."""


def subset_colour(subset: str, all_subsets: Iterable[str]) -> str:
    """Return the colour of a subset, the same in every plot; subsets with names of their own take the spare colours."""
    if subset in SUBSET_COLOURS:
        return SUBSET_COLOURS[subset]
    others = [name for name in all_subsets if name not in SUBSET_COLOURS]
    spare = (PURPLE, VERMILLION, SKY)
    return spare[others.index(subset) % len(spare)]
