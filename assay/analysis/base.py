"""What every kind of learning brings to the analysis: how its predictions are read, shown and talked about.

Belongs here: the interface between the analysis and the kinds of learning. Does not belong here: either of them
(``assay.analysis.kinds``).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from assay.analysis.inputs import AnalysisInputs, headline_subset
from assay.metrics.samples import Integers, Sample
from assay.spec.analysis import ResultAnalyzer


@dataclass(frozen=True)
class Part:
    """What is known of one subset before any metric is computed.

    Attributes:
        subset: Its name.
        sample: The items whose truth is known, each with weight 1.
        baselines: The same items as trivial predictions see them, by the baseline's name.
        groups: (n,) index of the group, 0 to g-1, that each item is drawn with for intervals.
        tables: Frames by file name without ending, each with a column ``subset``; ``worst_items`` is one of them.
    """

    subset: str
    sample: Sample
    baselines: Mapping[str, Sample]
    groups: Integers
    tables: Mapping[str, pl.DataFrame]

    @property
    def item_count(self) -> int:
        """Items that are scored."""
        return int(self.sample.weights.shape[1])


@dataclass(frozen=True)
class Analysis:
    """What is known about the predictions.

    Attributes:
        tables: Frames by file name without ending: ``analysis``, ``worst_items``, and those of the kind of learning.
            Each has a column ``subset``.
        parts: The subsets, in the order of reports.
    """

    tables: Mapping[str, pl.DataFrame]
    parts: Mapping[str, Part]

    @property
    def headline(self) -> str:
        """The subset that summary and pictures are about."""
        return headline_subset(list(self.parts))

    def of_headline(self, table: str) -> pl.DataFrame:
        """Return the headline subset's part of a table."""
        return self.tables[table].filter(pl.col("subset") == self.headline)


@dataclass(frozen=True)
class Kind:
    """One kind of learning, as the analysis sees it.

    Attributes:
        noun: What an item is called, in the singular.
        parts: Reads and checks the predictions; returns the subsets in the order of reports.
        draw: Writes the pictures that only this kind has into a folder.
        advise: Returns the sentence about where the model fails most, given that it beats its baseline and that there
            are worst items.
    """

    noun: str
    parts: Callable[[AnalysisInputs, ResultAnalyzer], list[Part]]
    draw: Callable[[Analysis, AnalysisInputs, ResultAnalyzer, Path], None]
    advise: Callable[[Analysis], str]
