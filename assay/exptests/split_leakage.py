"""Test kind ``split_leakage``: nothing that was trained on comes back in another subset.

Belongs here: which kinds of sameness count, and the verdict. Does not belong here: comparing images.
"""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from assay.exptests.duplicates import look_at, similar_pairs
from assay.exptests.files import ExperimentFiles, TestResult, not_materialized, shortened, verdict
from assay.results import REPORT
from assay.spec.exptest_kinds import SplitLeakageTest

EXPECTED = "no item, copy or group in two subsets"
MOST_PAIRS = 1000
"""Near duplicates listed at most; with more, the data are all alike and the pairs say nothing."""

Finding = tuple[str, str]
"""What is the same, such as ``same file``, and the sentence that shows it."""


def run(test: SplitLeakageTest, files: ExperimentFiles) -> TestResult:
    """Compare items by group, by file, by decoded pixels, and by how similar they look.

    Pixels are those of the crops where there are crops: they are what is trained on, and small.
    """
    if files.splits_folder is None:
        return not_materialized(test, "splits", EXPECTED)
    items = pl.read_parquet(files.splits_folder / "items.parquet")
    findings = _shared(items, "group", "same group")
    if "file" not in items.columns:
        return _verdict(test, findings, _shared(items, "sha256", "same row"), len(items))
    findings += _shared(items, "sha256", "same file")
    pictured, folder = items, _root(files.splits_folder)
    if files.crops_folder is not None:
        pictured, folder = pl.read_parquet(files.crops_folder / "crops.parquet"), files.crops_folder
    equal, near = _compare_pixels(pictured, folder, near=test.near_duplicates != "ignore")
    return _verdict(test, findings + equal, near, len(pictured))


def _root(folder: Path) -> Path:
    """Return the folder that ``file`` in a result's index is relative to."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8")) if (folder / REPORT).is_file() else {}
    return folder / str(report.get("root", "."))


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


def _compare_pixels(items: pl.DataFrame, folder: Path, near: bool) -> tuple[list[Finding], list[Finding]]:
    """Return findings of equal pixels (and of files that can't be opened), and of near duplicates."""
    looks = look_at([folder / file for file in items["file"]])
    decoded = items.with_columns(pl.Series("pixels", looks.digests)).with_columns(
        pl.col("pixels").replace("", None),
    )
    equal = _shared(decoded, "pixels", "same pixels") + [("unreadable", problem) for problem in looks.problems]
    if not near:
        return equal, []
    names = (items["subset"] + "/" + items["item"]).to_list()
    pairs = similar_pairs(looks.thumbnails, np.array(items["subset"].to_list(), dtype=np.str_))
    return equal, [
        ("near duplicate", f"near duplicate: {names[one]} ~ {names[two]} (correlation {correlation:.4f})")
        for one, two, correlation in islice(pairs, MOST_PAIRS)
        if looks.digests[one] != looks.digests[two]
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
