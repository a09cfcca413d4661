"""What is wrong, or worth a warning, about a division.

Belongs here: empty subsets, classes that can't be learned, shares far off. Does not belong here: dividing.
"""

from math import ceil

import polars as pl

from assay.datasets.inspection import class_not_in_train
from assay.errors import DataError
from assay.spec.splits import TRAIN, SplitsSection
from assay.splits.division import exact_shares

TOLERATED = 0.02
"""Distance of a share from its wish, 0 to 1, from which on the report warns."""


def require_usable(items: pl.DataFrame, spec: SplitsSection) -> None:
    """Raise when a subset is empty or holds classes that train lacks.

    Raises:
        DataError: With every subset and class concerned, and how many items are needed.
    """
    counts = dict(items["subset"].value_counts().iter_rows())
    empty = [name for name in spec.set_names if name not in counts]
    if empty:
        raise DataError(f"splits.set_infos: {', '.join(empty)} would be empty. {_cause(items, spec)}")
    problems = _not_in_train(items)
    if problems:
        raise DataError(
            "splits: some classes would be tested but not learned. Add items, set splits.stratify: true, choose "
            "smaller groups, or remove the class.",
            problems,
        )


def _cause(items: pl.DataFrame, spec: SplitsSection) -> str:
    smallest = min(exact_shares(spec).values())
    needed = ceil(1 / smallest)
    sizes = items["group"].value_counts().sort("count", "group", descending=[True, False])
    name, size = sizes.row(0)
    if size > 1 and len(items) >= needed:
        return (
            f"The {len(items)} items are in {len(sizes)} groups that stay together, the largest ({name!r}) with {size} "
            "items. Choose smaller groups: splits.group_key, or splits.name_delimiter with splits.max_split"
            f"{'; or set splits.stratify: false' if spec.stratify else ''}."
        )
    wanted = f"at least {needed}{' of each class' if spec.stratify else ''} are needed"
    return (
        f"There are {len(items)} items; {wanted} for a probability of {float(smallest):g}. Add items, or raise the "
        "probability."
    )


def _not_in_train(items: pl.DataFrame) -> list[str]:
    """Return one line per class that only other subsets hold; numbers of a table are no classes here.

    Whether a table's numbers are classes is the task's business, which this stage does not know.
    """
    labels = items.filter(pl.col("label").is_not_null()).select("label", "subset").unique().sort("label", "subset")
    is_table = "file" not in items.columns
    if is_table and labels["label"].cast(pl.Float64, strict=False).null_count() == 0:
        return []
    known = set(labels.filter(pl.col("subset") == TRAIN)["label"])
    if TRAIN not in set(items["subset"]):
        return []  # data to evaluate a model on
    strange = labels.filter(~pl.col("label").is_in(list(known)))
    return [class_not_in_train(label, subset, known) for label, subset in strange.iter_rows()]


def warnings(items: pl.DataFrame, spec: SplitsSection, given: bool) -> list[str]:
    """Return one line per subset whose share is far off its wish, and one when groups cross given subsets."""
    lines = []
    if not given:
        counts = dict(items["subset"].value_counts().iter_rows())
        for name, wish in exact_shares(spec).items():
            share = counts.get(name, 0) / len(items)
            if abs(share - wish) > max(TOLERATED, 1 / len(items)):
                lines.append(
                    f"{name} holds {share:.1%} of the items, wanted {float(wish):.1%}; the groups are too large"
                )
    crossing = items.group_by("group").agg(pl.col("subset").n_unique()).filter(pl.col("subset") > 1)
    if len(crossing):
        lines.append(f"{len(crossing)} groups are in more than one subset, because the data come so divided")
    return lines
