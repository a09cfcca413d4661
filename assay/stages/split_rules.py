"""The split rule of the stage ``splits``: exact quotas of whole groups, in the order of their hashes.

Belongs here: which items form a group, which groups share quotas (strata), and the subset of each group, given by the
data or assigned by quota. Does not belong here: files, checks of the outcome, the report (``assay.stages.splits``).
"""

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from pathlib import PurePosixPath

import polars as pl

from assay.datasets.table import item_place
from assay.errors import DataError, unknown
from assay.spec.splits import TEST, TRAIN, SplitsSection
from assay.utils.text import pluralize

_MIDPOINT = 0.5


@dataclass(frozen=True)
class Group:
    """Items that stay in one subset.

    Attributes:
        name: Unique name, whose hash decides the group's position.
        size: Number of items.
        stratum: Quotas hold within each stratum, which is a class; "" for all groups if the split is not stratified.
    """

    name: str
    size: int
    stratum: str = ""


def divide(items: pl.DataFrame, objects: pl.DataFrame | None, spec: SplitsSection, seed: int) -> pl.DataFrame:
    """Return the items with columns ``subset`` and ``group``, sorted by item.

    Args:
        items: Columns item, sha256, label, given_subset and the one that ``group_key`` names.
        objects: Labelled boxes; their labels count if the items have none.
        spec: Subsets, their shares, and what must stay together.
        seed: Seed of the order.

    Raises:
        DataError: The data comes with subsets that the spec does not list, or that folds would mix; there are more
            folds than groups; or as in ``with_groups`` and ``list_groups``.
    """
    if spec.folds is not None:
        _refuse_given(items, spec)
        return _divide_into_folds(with_groups(items, spec), objects, spec, seed).sort("item")
    if not uses_given(items, spec):
        return _divide(with_groups(items, spec), objects, spec, exact_shares(spec), seed).sort("item")
    given = set(items["given_subset"])
    unlisted = given - set(spec.set_names)
    if unlisted:
        extra = ", ".join(sorted(unlisted))
        raise DataError(
            f"The data come with the subset {extra}, but splits.set_infos has only {', '.join(spec.set_names)}. "
            "Add it there, or set splits.use_given_subsets: false."
        )
    return _keep_given(items, objects, spec, seed).sort("item")


def uses_given(items: pl.DataFrame, spec: SplitsSection) -> bool:
    """Return whether the items come with subsets of their own and the spec keeps these."""
    return spec.use_given_subsets and spec.folds is None and items["given_subset"].null_count() < len(items)


def exact_shares(spec: SplitsSection) -> dict[str, Fraction]:
    """Return the share of each subset as the decimal that the user wrote: 0.1 is one tenth.

    With folds, that of the test subset is one fold, and the others share the rest.
    """
    shares = {info.set_name: Fraction(str(info.probability)) for info in spec.set_infos}
    if spec.folds is None:
        return shares
    test = Fraction(1, spec.folds)
    rest = sum(share for name, share in shares.items() if name != TEST)
    return {name: test if name == TEST else (1 - test) * share / rest for name, share in shares.items()}


def _refuse_given(items: pl.DataFrame, spec: SplitsSection) -> None:
    """Refuse folds of data that come divided: their test items are kept apart for a reason."""
    given = sorted(set(items["given_subset"].drop_nulls()) - {TRAIN})
    if given and spec.use_given_subsets:
        raise DataError(
            f"splits.folds divides all items, but the data come with the subset {', '.join(given)}. Set "
            "splits.use_given_subsets: false to divide these as well, or leave splits.folds out."
        )


def _divide_into_folds(
    items: pl.DataFrame, objects: pl.DataFrame | None, spec: SplitsSection, seed: int
) -> pl.DataFrame:
    """Return the items, which have a column ``group``, with the subset of their group; one fold is the test subset.

    The folds do not depend on which of them is the test subset, so that those of all experiments together are the
    whole. The rest is divided in another order for each fold, or the same items would never be learned from.
    """
    count, fold = spec.folds or 0, spec.fold or 0
    groups = items["group"].n_unique()
    if groups < count:
        found = pluralize(len(items), "item")
        verb = "is" if len(items) == 1 else "are"
        of_groups = f"{found} {verb} in {pluralize(groups, 'group')} that stay together" if groups < len(items) else ""
        raise DataError(
            f"splits.folds: got {count}, but {of_groups or f'there {verb} {found}'}; expected at most {groups}."
        )
    equal = {str(number): Fraction(1, count) for number in range(count)}
    folds = _divide(items, objects, spec, equal, seed)
    is_test = pl.col("subset") == str(fold)
    shares = {name: share for name, share in exact_shares(spec).items() if name != TEST}
    shares = {name: share / sum(shares.values()) for name, share in shares.items()}
    rest = _divide(folds.filter(~is_test).drop("subset"), objects, spec, shares, seed + fold)
    return pl.concat([rest, folds.filter(is_test).with_columns(subset=pl.lit(TEST)).select(rest.columns)])


def _keep_given(items: pl.DataFrame, objects: pl.DataFrame | None, spec: SplitsSection, seed: int) -> pl.DataFrame:
    """Keep each given subset; subsets of the spec that are not given are taken from the given train items."""
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
    """Return the items, which have a column ``group``, with the subset of their group."""
    groups = list_groups(items, label_counts(items, objects), spec.stratify)
    subsets = assign(groups, shares, seed)
    return items.with_columns(subset=pl.col("group").replace_strict(subsets, return_dtype=pl.String))


def with_groups(items: pl.DataFrame, spec: SplitsSection) -> pl.DataFrame:
    """Return the items with a column ``group``, never null.

    The group is, in this order of precedence: the first parts of the file's name (``name_delimiter``), a column
    (``group_key``), the group that the data comes with. Otherwise each item is a group of its own, except that
    identical files form one group: an image that exists twice must not be in both train and test.

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
    """Return the first ``max_split`` parts of a file's name, without its folders and its extension.

    Folders are ignored: scan_7_left.png in one class folder and scan_7_right.png in another are of the same patient.
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
            f"splits.group_key {key!r} is missing for {missing.sum()} of {pluralize(len(items), 'item')} "
            f"(the first: {item_place(items['item'].filter(missing)[0])})."
        )
    return items[key].cast(pl.String)


def label_counts(items: pl.DataFrame, objects: pl.DataFrame | None) -> pl.DataFrame:
    """Return columns item and label with one row per label of an item.

    These are the items' own labels or, if no item has one, those of their boxes except crowds.
    """
    own = items.filter(pl.col("label").is_not_null()).select("item", "label")
    if objects is None or len(own):
        return own
    single = objects.filter(~pl.col("crowd").fill_null(False))
    return single.filter(pl.col("item").is_in(items["item"].implode())).select("item", "label")


def list_groups(items: pl.DataFrame, labels: pl.DataFrame, stratify: bool) -> list[Group]:
    """Return the groups with their sizes and, if stratified, the most frequent label of each as its stratum.

    Args:
        items: Columns item and group.
        labels: Columns item and label, as returned by ``label_counts``.
        stratify: Whether the quotas shall hold within each label.

    Raises:
        DataError: The split is stratified, but there are no labels.
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
    most_frequent = dict(
        counted.sort("len", "label", descending=[True, False])
        .unique("group", keep="first", maintain_order=True)["group", "label"]
        .iter_rows()
    )
    return [Group(name, size, most_frequent.get(name, "")) for name, size in sizes.items()]


def assign(groups: Iterable[Group], shares: Mapping[str, Fraction], seed: int) -> dict[str, str]:
    """Return the subset of each group by name.

    The groups of a stratum are laid end to end on a line in the order of sha256(seed:name), each as long as its number
    of items. The line is cut at the cumulative shares, and a group belongs to the piece that contains its midpoint.
    This has the following properties:

    * The order in which groups are given does not matter, and names may contain any character.
    * With groups of one item each, every subset gets its share of the n items to within less than one item, and none is
      empty if n times its share is at least 1.
    * Adding k such groups to n moves at most k of the old ones across each cut, whatever n: a cut lies at a fixed
      fraction of the line, so k more items shift it by at most k positions. (The method of largest remainders lacks
      this property: a subset may lose an item when one is added, the Alabama paradox.)
    * Large groups may cover a small piece entirely. A subset whose share is at least one item then gets the group
      nearest to its piece, taken from a subset that keeps at least one other.
    * With several strata, the cuts are made in each. The point of a group that counts is then not its midpoint, but
      depends on a hash of the stratum; otherwise a share of 0.1 would round to zero in every class of four items, and
      the subset would be empty.

    Args:
        groups: Groups with unique names.
        shares: Share of each subset, in order; they sum to 1.
        seed: A different seed gives a different split.
    """
    strata: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        strata[group.stratum].append(group)
    subsets: dict[str, str] = {}
    for stratum, members in strata.items():
        position = _MIDPOINT if len(strata) == 1 else _uniform(f"{seed}:stratum:{stratum}")
        members.sort(key=lambda group: (_hash(f"{seed}:{group.name}"), group.name))
        line = _Line(members, shares, position)
        pieces = line.cut()
        subsets |= line.filled(pieces) if len(strata) == 1 else pieces
    return subsets


class _Line:
    """The groups of a stratum, laid end to end; the point at ``position``, 0 to 1, of a group decides its subset."""

    def __init__(self, groups: Sequence[Group], shares: Mapping[str, Fraction], position: float) -> None:
        total = sum(group.size for group in groups)
        starts = accumulate((group.size for group in groups), initial=0)
        self._points = {group.name: start + position * group.size for group, start in zip(groups, starts, strict=False)}
        self._ends = {name: float(total * cut) for name, cut in zip(shares, accumulate(shares.values()), strict=True)}
        self._lengths = {name: float(total * share) for name, share in shares.items()}

    def cut(self) -> dict[str, str]:
        """Return the subset in whose piece each group's point lies."""
        names, ends = list(self._ends), list(self._ends.values())
        return {name: names[bisect_right(ends[:-1], point)] for name, point in self._points.items()}

    def filled(self, subsets: dict[str, str]) -> dict[str, str]:
        """Return the subsets after giving one group to each subset that large groups left empty."""
        for empty in [name for name in self._ends if name not in subsets.values() and self._lengths[name] >= 1]:
            center = self._ends[empty] - self._lengths[empty] / 2
            counts = Counter(subsets.values())
            spare = [name for name, subset in subsets.items() if counts[subset] > 1]
            if spare:
                nearest = min(spare, key=lambda name: abs(self._points[name] - center))
                subsets = subsets | {nearest: empty}
        return subsets


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _uniform(text: str) -> float:
    """Return a number between 0 and 1, exclusive, that depends on the text alone."""
    return (int.from_bytes(_hash(text)[:4]) + 0.5) / 2**32
