"""What must stay together: the group of each item, and the class by which groups are stratified.

Belongs here: naming groups. Does not belong here: dividing them.
"""

from pathlib import PurePosixPath

import polars as pl

from assay.datasets.table import row_numbers
from assay.errors import DataError, unknown
from assay.spec.splits import SplitsSection
from assay.stages.quotas import Group


def with_groups(items: pl.DataFrame, spec: SplitsSection) -> pl.DataFrame:
    """Return the items with a column ``group``, never null.

    The group comes from, in this order: the parts of the file's name (``name_delimiter``), a column (``group_key``),
    the group that the data come with. Otherwise each item is its own group, but equal files are one: an image that
    is there twice must not be trained on and tested with.

    Raises:
        DataError: ``group_key`` names no column, or a column with missing values.
    """
    if spec.name_delimiter is not None:
        names = [name_group(item, spec.name_delimiter, spec.max_split or 1) for item in items["item"]]
        return items.with_columns(pl.Series("group", names, dtype=pl.String))
    if spec.group_key is not None:
        return items.with_columns(_column_group(items, spec.group_key).alias("group"))
    if "given_group" in items.columns and items["given_group"].null_count() < len(items):
        return items.with_columns(group=pl.col("given_group"))
    return items.with_columns(group=pl.col("item").min().over("sha256"))


def name_group(item: str, delimiter: str, max_split: int) -> str:
    """Return the first ``max_split`` parts of a file's name, without its folders and its ending.

    Folders don't count: scan_7_left.png in one class folder and scan_7_right.png in another are of one patient.
    """
    path = PurePosixPath(item)
    parts = path.name.removesuffix(path.suffix).split(delimiter)
    return delimiter.join(parts[:max_split])


def _column_group(items: pl.DataFrame, key: str) -> pl.Series:
    choices = [name for name in items.columns if items[name].null_count() < len(items)]
    if key not in choices:
        raise DataError(f"splits.group_key: {unknown('Column', key, choices)}")
    missing = items[key].is_null()
    if missing.any():
        raise DataError(
            f"splits.group_key {key!r} is missing for {missing.sum()} of {len(items)} items ({row_numbers(missing)})."
        )
    return items[key].cast(pl.String)


def label_counts(items: pl.DataFrame, objects: pl.DataFrame | None) -> pl.DataFrame:
    """Return columns item, label: a row per label of an item, its own or those of its boxes that are no crowds."""
    own = items.filter(pl.col("label").is_not_null()).select("item", "label")
    if objects is None or len(own):
        return own
    alone = objects.filter(~pl.col("crowd").fill_null(False))
    return alone.filter(pl.col("item").is_in(items["item"].implode())).select("item", "label")


def list_groups(items: pl.DataFrame, labels: pl.DataFrame, stratify: bool) -> list[Group]:
    """Return the groups with their sizes and, when stratified, the label that is most frequent in each.

    Args:
        items: Columns item and group.
        labels: Columns item and label, as ``label_counts`` gives them.
        stratify: Whether groups of different labels get quotas of their own.

    Raises:
        DataError: Stratified, but there are no labels.
    """
    sizes = dict(items.group_by("group").len().iter_rows())
    if not stratify:
        return [Group(name, size) for name, size in sizes.items()]
    if labels.is_empty():
        raise DataError(
            "splits.stratify is true, but the items have no classes (a target of fractions has none); "
            "set splits.stratify: false."
        )
    counted = labels.join(items.select("item", "group"), on="item").group_by("group", "label").len()
    main = dict(
        counted.sort("len", "label", descending=[True, False])
        .unique("group", keep="first", maintain_order=True)["group", "label"]
        .iter_rows()
    )
    return [Group(name, size, main.get(name, "")) for name, size in sizes.items()]
