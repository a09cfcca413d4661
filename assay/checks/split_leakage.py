"""Test kind ``split_leakage``: nothing that was trained on comes back in another subset.

Belongs here: which kinds of sameness count, and the verdict. Does not belong here: comparing images.
"""

from dataclasses import replace
from itertools import islice

import numpy as np
import polars as pl

from assay.checks.result import ExperimentFiles, TestResult, not_materialized, shortened, verdict
from assay.datasets.schema import ITEMS_FILE
from assay.images.near_duplicates import similar_pairs, unit_thumbnails
from assay.spec.exptests import SplitLeakageTest
from assay.storage.parquet import read_parquet

EXPECTED = "no item, copy or group in two subsets"
MOST_PAIRS = 1000
"""Near duplicates listed at most; with more, the data are all alike and the pairs say nothing."""

Finding = tuple[str, str]
"""What is the same, such as ``same file``, and the sentence that shows it."""


def check_split_leakage(test: SplitLeakageTest, files: ExperimentFiles) -> TestResult:
    """Compare items by group, by file, by decoded pixels, and by how similar they look; rows of a table by content.

    Reads the index of ``splits`` and no image: the index says what each one looks like.
    """
    if files.splits_folder is None:
        return not_materialized(test, "splits", EXPECTED)
    items = read_parquet(files.splits_folder / ITEMS_FILE)
    certain = _shared(items, "group", "same group")
    if "thumbnail" not in items.columns:
        return _verdict(test, certain, _shared(items, "sha256", "same row"), len(items))
    certain += _shared(items, "sha256", "same file") + _shared(items, "pixels", "same pixels")
    return _verdict(test, certain, [] if test.near_duplicates == "ignore" else _near_duplicates(items), len(items))


def _shared(items: pl.DataFrame, column: str, what: str) -> list[Finding]:
    """Return one finding per value of ``column`` that is in more than one subset."""
    if column not in items.columns:
        return []
    shared = pl.col("subset").n_unique().over(column) > 1
    groups = items.filter(pl.col(column).is_not_null() & shared).sort("item").partition_by(column, maintain_order=True)
    return [(what, f"{what}: {_members(group)}") for group in groups]


def _members(group: pl.DataFrame) -> str:
    """Return an example of each subset."""
    firsts = group.unique("subset", keep="first", maintain_order=True).sort("subset")
    return " = ".join(f"{row['subset']}/{row['item']}" for row in firsts.iter_rows(named=True))


def _near_duplicates(items: pl.DataFrame) -> list[Finding]:
    """Return one finding per pair in two subsets that looks alike; equal pixels are another finding."""
    names, pixels = (items["subset"] + "/" + items["item"]).to_list(), items["pixels"].to_list()
    pairs = similar_pairs(unit_thumbnails(items["thumbnail"].to_list()), items["subset"].to_numpy().astype(np.str_))
    return [
        ("near duplicate", f"near duplicate: {names[one]} ~ {names[two]} (correlation {correlation:.4f})")
        for one, two, correlation in islice(pairs, MOST_PAIRS)
        if pixels[one] != pixels[two]
    ]


def _verdict(test: SplitLeakageTest, certain: list[Finding], likely: list[Finding], count: int) -> TestResult:
    """Judge: certain findings as the test says, likely ones as ``near_duplicates`` says.

    Near duplicates and equal table rows are only likely: a table of few distinct values has equal rows honestly.
    """
    likely = [] if test.near_duplicates == "ignore" else likely
    findings = certain + likely
    kinds = [kind for kind, _ in findings]
    measured = ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds)) or f"{count} items, none"
    if not findings:
        return verdict(test, True, f"No leakage among {count} items.", measured=measured, expected=EXPECTED)
    advice = "Give copies the same group (splits), or remove them from the data."
    description = f"{measured}. {shortened([text for _, text in findings])}. {advice}"
    result = verdict(test, False, description, measured=measured, expected=EXPECTED)
    if certain or test.near_duplicates == "error":
        return result
    return replace(result, severity="warn", blocking=False)
