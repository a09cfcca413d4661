"""Which subset each item belongs to: the data's own, or by quota.

Belongs here: combining given subsets with quotas. Does not belong here: the quota rule, judging the outcome.
"""

from fractions import Fraction

import polars as pl

from assay.errors import DataError
from assay.spec.splits import TRAIN, SplitsSection
from assay.splits.groups import label_counts, list_groups, with_groups
from assay.stages.quotas import assign


def uses_given(items: pl.DataFrame, spec: SplitsSection) -> bool:
    """Return whether the items come with subsets that the spec wants kept."""
    return spec.use_given_subsets and items["given_subset"].null_count() < len(items)


def exact_shares(spec: SplitsSection) -> dict[str, Fraction]:
    """Return the share of each subset as the decimal that the user wrote: 0.1 is one tenth."""
    return {info.set_name: Fraction(str(info.probability)) for info in spec.set_infos}


def divide(items: pl.DataFrame, objects: pl.DataFrame | None, spec: SplitsSection, seed: int) -> pl.DataFrame:
    """Return the items with columns ``subset`` and ``group``, sorted by item.

    Args:
        items: Columns item, sha256, label, given_subset and whatever ``group_key`` names.
        objects: Labelled boxes, whose labels count where items have none.
        spec: How to divide.
        seed: Of the order.

    Raises:
        DataError: The data come with subsets that the spec does not know; or see ``groups``.
    """
    if not uses_given(items, spec):
        return _divide(with_groups(items, spec), objects, spec, exact_shares(spec), seed).sort("item")
    wanted = set(spec.set_names)
    given = set(items["given_subset"])
    if not given <= wanted:
        extra = ", ".join(sorted(given - wanted))
        raise DataError(
            f"The data come with the subset {extra}, but splits.set_infos has only {', '.join(spec.set_names)}. "
            "Add it there, or set splits.use_given_subsets: false."
        )
    return _keep_given(items, objects, spec, seed).sort("item")


def _keep_given(items: pl.DataFrame, objects: pl.DataFrame | None, spec: SplitsSection, seed: int) -> pl.DataFrame:
    """Keep each given subset; those that are not given are taken from the given train part."""
    given = set(items["given_subset"])
    shares = {name: share for name, share in exact_shares(spec).items() if name == TRAIN or name not in given}
    shares = {name: share / sum(shares.values()) for name, share in shares.items()}
    is_train = pl.col("given_subset") == TRAIN
    train = _divide(with_groups(items.filter(is_train), spec), objects, spec, shares, seed)
    others = with_groups(items.filter(~is_train), spec).with_columns(subset=pl.col("given_subset"))
    return pl.concat([train, others.select(train.columns)])


def _divide(
    items: pl.DataFrame,
    objects: pl.DataFrame | None,
    spec: SplitsSection,
    shares: dict[str, Fraction],
    seed: int,
) -> pl.DataFrame:
    groups = list_groups(items, label_counts(items, objects), spec.stratify)
    subsets = assign(groups, shares, seed)
    return items.with_columns(subset=pl.col("group").replace_strict(subsets, return_dtype=pl.String))
