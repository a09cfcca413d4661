"""Stage ``splits``: puts every item into exactly one subset, usually train, validation or test.

Reads ``generated_images``: items.parquet, objects.parquet and the images. Writes items.parquet with the subset of each
item, objects.parquet, and a hard link to each image and mask in the folder of its subset. Belongs here: the order of
the steps, checks of the outcome, links, the report. Does not belong here: which subset an item belongs to
(``assay.stages.split_rules``).
"""

import shutil
from collections.abc import Sequence
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from assay.datasets.inspection import class_not_in_train, subset_of
from assay.datasets.schema import ITEMS_FILE, MASK_CLASSES_FILE, OBJECTS_FILE, is_nested, mask_root_of, root_of
from assay.errors import MAX_CHOICES, DataError, unknown
from assay.spec.splits import MASK_FOLDER, TRAIN, SplitsSection
from assay.stages.split_rules import divide, exact_shares, label_counts, uses_given
from assay.storage.files import try_link
from assay.storage.parquet import read_parquet, write_parquet
from assay.utils.concurrency import Progress, silent
from assay.utils.text import pluralize

_MOST_LABELS = 100
"""With more different labels, the report does not count them one by one."""


TOLERATED = 0.02
"""Difference between the requested and the actual share of a subset, 0 to 1, above which the report warns."""


def build_splits(
    source_folder: Path, spec: SplitsSection, seed: int, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Split the items of a source into subsets and return statistics about the split.

    Writes items.parquet (the source's rows with ``subset`` and ``group``), objects.parquet (the boxes with
    ``subset``) and, for images, a hard link ``<subset>/[<sub_dir>/]<item>`` to each file, and
    ``masks/<subset>/[<sub_dir>/]<item>`` to its mask if it has one.

    Args:
        source_folder: Result of ``generated_images``.
        spec: Subsets, their shares, and what must stay together.
        seed: Seed of the order; the same seed gives the same split.
        folder: Existing empty folder for the result.
        progress: Called after each file.

    Raises:
        DataError: A subset would be empty, a class could not be learned, or files are missing.
    """
    items = read_parquet(source_folder / ITEMS_FILE)
    taken = _not_nested(items, spec)
    # Items are left out of the finished division, so that all others stay where they are.
    divided = _without_left_out(divide(taken, _objects(source_folder, taken), spec, seed), spec)
    objects = _objects(source_folder, divided)
    given = uses_given(taken, spec)
    require_usable(divided, spec)
    roots = {"root": "."}
    if "file" in divided.columns:
        divided, roots = _with_links(divided, source_folder, folder, _inner_names(divided, spec), progress)
    if (source_folder / MASK_CLASSES_FILE).exists():
        shutil.copyfile(source_folder / MASK_CLASSES_FILE, folder / MASK_CLASSES_FILE)
    write_parquet(divided, folder / ITEMS_FILE)
    if objects is not None:
        write_parquet(objects.join(divided.select("item", "subset"), on="item", how="left"), folder / OBJECTS_FILE)
    report = _report(divided, label_counts(divided, objects), spec)
    return {
        **report,
        **roots,
        "left_out_nested": len(items) - len(taken),
        "given_subsets_kept": given,
        "warnings": warnings(divided, spec, given),
        **({"left_out": len(spec.leave_out)} if spec.leave_out else {}),
    }


def _not_nested(items: pl.DataFrame, spec: SplitsSection) -> pl.DataFrame:
    """Return all items, or those directly in their class folder."""
    taken = items if spec.recursive or "folder" not in items.columns else items.filter(~is_nested())
    if taken.is_empty():
        raise DataError(
            f"splits.recursive is false, but {pluralize(len(items), 'file')}, all of them, lie in folders "
            "below their class folder; "
            "set splits.recursive: true."
        )
    return taken


_MOST_COMPARED = 10_000
"""With more items, the one whose name is nearest is not searched for: that would take longer than the stage."""


def _without_left_out(items: pl.DataFrame, spec: SplitsSection) -> pl.DataFrame:
    """Return the items without those to leave out; a mistyped name, which would keep one in, is refused."""
    if not spec.leave_out:
        return items
    known = set(items["item"])
    if wrong := [name for name in spec.leave_out if name not in known]:
        choices = known if len(known) <= _MOST_COMPARED else sorted(known)[:MAX_CHOICES]
        raise DataError(f"splits.leave_out: {unknown('Item', wrong[0], choices)}")
    kept = items.filter(~pl.col("item").is_in(list(spec.leave_out)))
    if kept.is_empty():
        raise DataError(f"splits.leave_out names all {pluralize(len(items), 'item')}; nothing is left to divide.")
    return kept


def _objects(source_folder: Path, items: pl.DataFrame) -> pl.DataFrame | None:
    """Return the labelled boxes of these items; None for a table."""
    path = source_folder / OBJECTS_FILE
    if not path.exists():
        return None
    return read_parquet(path).join(items.select("item"), on="item", how="semi").sort("item", "object")


def require_usable(items: pl.DataFrame, spec: SplitsSection) -> None:
    """Check that no subset is empty and that no subset holds a class that is missing from train.

    Raises:
        DataError: One of the two is the case; names every such subset or class, and how many items are needed.
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
    """Return why a subset is empty, large groups or too few items, and what to do about it."""
    smallest = min(exact_shares(spec).values())
    needed = ceil(1 / smallest)
    sizes = items["group"].value_counts().sort("count", "group", descending=[True, False])
    name, size = sizes.row(0)
    if size > 1 and len(items) >= needed:
        return (
            f"{pluralize(len(items), 'item is', 'items are')} in {pluralize(len(sizes), 'group')} kept "
            f"together, the largest ({name!r}) with {size:,} "
            "of them. Choose smaller groups: splits.group_key, or splits.name_delimiter with splits.max_split"
            f"{'; or set splits.stratify: false' if spec.stratify else ''}."
        )
    minimum = f"at least {needed}{' of each class' if spec.stratify else ''} are needed"
    change = "raise the probability" if spec.folds is None else "lower splits.folds"
    there_are = f"There {'is' if len(items) == 1 else 'are'} {pluralize(len(items), 'item')}"
    return f"{there_are}; {minimum} for a probability of {float(smallest):g}. Add items, or {change}."


def _not_in_train(items: pl.DataFrame) -> list[str]:
    """Return one line per class that is in another subset but not in train.

    The numbers of a table are not treated as classes: whether they are depends on the task, which this stage does not
    read.
    """
    labels = items.filter(pl.col("label").is_not_null()).select("label", "subset").unique().sort("label", "subset")
    is_table = "file" not in items.columns
    if is_table and labels["label"].cast(pl.Float64, strict=False).null_count() == 0:
        return []
    if TRAIN not in set(items["subset"]):
        return []  # data to evaluate a model on
    learned = set(labels.filter(pl.col("subset") == TRAIN)["label"])
    not_learned = labels.filter(~pl.col("label").is_in(list(learned)))
    return [class_not_in_train(label, subset, learned) for label, subset in not_learned.iter_rows()]


def _with_links(
    items: pl.DataFrame, source_folder: Path, folder: Path, names: list[str], progress: Progress
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Link images and masks; return the items with their new paths and the roots that these are relative to.

    Where links can't be made, the items keep the paths and roots that they have in the source.
    """
    root, mask_root = root_of(source_folder), mask_root_of(source_folder)
    masks = [_mask_name(name, mask) for name, mask in zip(names, items["mask"], strict=True)]
    files = [(root / file, name) for file, name in zip(items["file"], names, strict=True)]
    files += [(mask_root / mask, name) for mask, name in zip(items["mask"], masks, strict=True) if name]
    if link_files(files, folder, progress):
        linked = [pl.Series("file", names), pl.Series("mask", masks, dtype=pl.String)]
        return items.with_columns(linked), {"root": "."}
    return items, {"root": str(root.resolve()), "mask_root": str(mask_root.resolve())}


def _inner_names(items: pl.DataFrame, spec: SplitsSection) -> list[str]:
    """Return the relative path of each link; if given subsets are kept, their folder names are not repeated."""
    given = uses_given(items, spec)
    names = []
    for item, file, subset, given_subset in items.select("item", "file", "subset", "given_subset").iter_rows():
        ending = PurePosixPath(file).suffix
        name = item if item.endswith(ending) else item + ending
        first, _, rest = name.partition("/")
        repeated = given and rest and subset_of(first) == given_subset
        names.append(str(PurePosixPath(subset, spec.sub_dir, rest if repeated else name)))
    return names


def _mask_name(name: str, mask: str | None) -> str | None:
    """Return the relative path of a mask's link, given its image's; ``a.jpg`` and ``a.png`` have separate masks."""
    return f"{MASK_FOLDER}/{name}{PurePosixPath(mask).suffix}" if mask else None


def link_files(files: Sequence[tuple[Path, str]], folder: Path, progress: Progress) -> bool:
    """Hard-link files into ``folder``: either all of them or, where links can't be made, none.

    Args:
        files: Each file with the path of its link relative to ``folder``.
        folder: Existing folder for the links.
        progress: Called after each file.

    Returns:
        Whether the links were made; if not, the files must be referred to where they are.

    Raises:
        DataError: Files are missing that were there when the source was indexed.
    """
    missing = [str(source) for source, _ in files if not source.is_file()]
    if missing:
        raise DataError(
            f"{pluralize(len(missing), 'file is', 'files are')} gone since the data were indexed. Run again.", missing
        )
    for parent in {(folder / target).parent for _, target in files}:
        parent.mkdir(parents=True, exist_ok=True)
    for done, (source, target) in enumerate(files, 1):
        if not try_link(source.resolve() if source.is_symlink() else source, folder / target):
            _remove_trees(folder, files)
            return False
        progress(done, len(files), "files linked")
    return True


def _remove_trees(folder: Path, files: Sequence[tuple[Path, str]]) -> None:
    for top in {PurePosixPath(target).parts[0] for _, target in files}:
        shutil.rmtree(folder / top, ignore_errors=True)


def _report(items: pl.DataFrame, labels: pl.DataFrame, spec: SplitsSection) -> dict[str, Any]:
    counts = dict(items["subset"].value_counts().iter_rows())
    sizes = items["group"].value_counts()["count"]
    return {
        "items": len(items),
        "items_per_subset": {name: counts[name] for name in spec.set_names},
        "share_per_subset": {name: round(counts[name] / len(items), 4) for name in spec.set_names},
        "wanted_per_subset": {name: float(share) for name, share in exact_shares(spec).items()},
        "groups": len(sizes),
        "largest_group": max(sizes),
        "labels_per_subset": _labels_per_subset(items, labels, spec),
    }


def _labels_per_subset(items: pl.DataFrame, labels: pl.DataFrame, spec: SplitsSection) -> dict[str, dict[str, int]]:
    if labels["label"].n_unique() > _MOST_LABELS:
        return {}
    counted = labels.join(items.select("item", "subset"), on="item").group_by("subset", "label").len().sort("label")
    return {name: dict(counted.filter(pl.col("subset") == name)["label", "len"].iter_rows()) for name in spec.set_names}


def warnings(items: pl.DataFrame, spec: SplitsSection, given: bool) -> list[str]:
    """Return one line per subset whose share is far from the requested one, and one if groups cross given subsets."""
    lines = []
    if not given:
        counts = dict(items["subset"].value_counts().iter_rows())
        for name, target in exact_shares(spec).items():
            share = counts.get(name, 0) / len(items)
            if abs(share - target) > max(TOLERATED, 1 / len(items)):
                lines.append(
                    f"{name} holds {share:.1%} of the items, wanted {float(target):.1%}; the groups are too large"
                )
    crossing = items.group_by("group").agg(pl.col("subset").n_unique()).filter(pl.col("subset") > 1)
    if len(crossing):
        lines.append(
            f"{pluralize(len(crossing), 'group is', 'groups are')} in more than one subset, because the "
            "data come so divided"
        )
    return lines
