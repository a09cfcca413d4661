"""The test ``split_leakage``: no item, no copy of one and no group is in two subsets.

Belongs here: which kinds of duplicates count, and the verdict. Does not belong here: comparing images
(``assay.images.near_duplicates``).
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
from assay.utils.text import pluralize

NO_LEAKAGE = "no item, copy or group in two subsets"
MAX_PAIRS = 1000
"""Near duplicates listed at most: where there are more, all images look alike and single pairs mean little."""

Finding = tuple[str, str]
"""Kind of duplicate, such as ``same file``, and a text that names the items."""


def check_split_leakage(test: SplitLeakageTest, files: ExperimentFiles) -> TestResult:
    """Compare items by group, file, decoded pixels and similarity; rows of a table by group and content.

    No image is read: the index of ``splits`` holds hashes and a thumbnail of each.
    """
    if files.splits_folder is None:
        return not_materialized(test, "splits", NO_LEAKAGE)
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
    """Return one finding per pair of similar images in two subsets; pairs with equal pixels are found elsewhere."""
    names, pixels = (items["subset"] + "/" + items["item"]).to_list(), items["pixels"].to_list()
    pairs = similar_pairs(unit_thumbnails(items["thumbnail"].to_list()), items["subset"].to_numpy().astype(np.str_))
    return [
        ("near duplicate", f"near duplicate: {names[one]} ~ {names[two]} (correlation {correlation:.4f})")
        for one, two, correlation in islice(pairs, MAX_PAIRS)
        if pixels[one] != pixels[two]
    ]


def _verdict(test: SplitLeakageTest, certain: list[Finding], likely: list[Finding], count: int) -> TestResult:
    """Return the verdict: certain findings count as the test says, likely ones as its ``near_duplicates`` says.

    Near duplicates and equal table rows are only likely: independent rows of few distinct values can be equal too.
    """
    likely = [] if test.near_duplicates == "ignore" else likely
    findings = certain + likely
    kinds = [kind for kind, _ in findings]
    measured = (
        ", ".join(f"{kinds.count(kind)} x {kind}" for kind in dict.fromkeys(kinds))
        or f"{pluralize(count, 'item')}, none"
    )
    if not findings:
        return verdict(
            test, True, f"No leakage among {pluralize(count, 'item')}.", measured=measured, expected=NO_LEAKAGE
        )
    advice = "Give copies the same group (splits), or remove them from the data."
    description = f"{measured}. {shortened([text for _, text in findings])}. {advice}"
    result = verdict(test, False, description, measured=measured, expected=NO_LEAKAGE)
    if certain or test.near_duplicates == "error":
        return result
    return replace(result, severity="warn", blocking=False)
