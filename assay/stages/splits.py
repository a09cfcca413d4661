"""Building the result folder of a division: read the index, divide, judge, link, report.

Belongs here: the order of steps and the report. Does not belong here: any rule.
"""

import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl

from assay.datasets.inspection import SUBSET_NAMES
from assay.datasets.schema import ITEMS_FILE, MASK_CLASSES_FILE, OBJECTS_FILE, is_nested, mask_root_of, root_of
from assay.errors import DataError
from assay.progress import Progress, silent
from assay.spec.splits import MASK_FOLDER, SplitsSection
from assay.splits.division import divide, uses_given
from assay.splits.groups import label_counts
from assay.splits.linking import link_files
from assay.splits.verdict import require_usable, warnings
from assay.tables import read_parquet, write_parquet

_MOST_LABELS = 100


def build_splits(
    source_folder: Path, spec: SplitsSection, seed: int, folder: Path, progress: Progress = silent
) -> dict[str, Any]:
    """Divide the items of a source into subsets and return statistics about the division.

    Writes items.parquet (the source's rows with ``subset`` and ``group``), objects.parquet (the boxes with
    ``subset``) and, for images, a hard link ``<subset>/[<sub_dir>/]<item>`` to each file, and
    ``masks/<subset>/[<sub_dir>/]<item>`` to its mask if it has one.

    Args:
        source_folder: Result of ``generated_images``.
        spec: How to divide.
        seed: Of the order; equal seeds divide equally.
        folder: Existing empty folder.
        progress: Called after each file.

    Raises:
        DataError: A subset would be empty, a class could not be learned, or files are gone.
    """
    items = read_parquet(source_folder / ITEMS_FILE)
    taken = _taken(items, spec)
    objects = _objects(source_folder, taken)
    divided = divide(taken, objects, spec, seed)
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
    }


def _taken(items: pl.DataFrame, spec: SplitsSection) -> pl.DataFrame:
    taken = items if spec.recursive or "folder" not in items.columns else items.filter(~is_nested())
    if taken.is_empty():
        raise DataError(
            f"splits.recursive is false, but all {len(items)} files are in folders below their class folder; "
            "set splits.recursive: true."
        )
    return taken


def _objects(source_folder: Path, items: pl.DataFrame) -> pl.DataFrame | None:
    path = source_folder / OBJECTS_FILE
    if not path.exists():
        return None
    return read_parquet(path).join(items.select("item"), on="item", how="semi").sort("item", "object")


def _inner_names(items: pl.DataFrame, spec: SplitsSection) -> list[str]:
    """Return where each file goes; where subsets are kept, their own folders are not repeated below the subset."""
    given = uses_given(items, spec)
    names = []
    for item, file, subset, known_as in items.select("item", "file", "subset", "given_subset").iter_rows():
        ending = PurePosixPath(file).suffix
        name = item if item.endswith(ending) else item + ending
        first, _, rest = name.partition("/")
        repeated = given and rest and SUBSET_NAMES.get(first.lower()) == known_as
        names.append(str(PurePosixPath(subset, spec.sub_dir, rest if repeated else name)))
    return names


def _with_links(
    items: pl.DataFrame, source_folder: Path, folder: Path, names: list[str], progress: Progress
) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return the items with ``file`` and ``mask`` as they are from now on, and the roots that these are relative to."""
    root, mask_root = root_of(source_folder), mask_root_of(source_folder)
    masks = [_mask_name(name, mask) for name, mask in zip(names, items["mask"], strict=True)]
    files = [(root / file, name) for file, name in zip(items["file"], names, strict=True)]
    files += [(mask_root / mask, name) for mask, name in zip(items["mask"], masks, strict=True) if name]
    if link_files(files, folder, progress):
        linked = [pl.Series("file", names), pl.Series("mask", masks, dtype=pl.String)]
        return items.with_columns(linked), {"root": "."}
    return items, {"root": str(root.resolve()), "mask_root": str(mask_root.resolve())}


def _mask_name(name: str, mask: str | None) -> str | None:
    """Return where a mask goes, given where its image goes; images ``a.jpg`` and ``a.png`` have a mask each."""
    return f"{MASK_FOLDER}/{name}{PurePosixPath(mask).suffix}" if mask else None


def _report(items: pl.DataFrame, labels: pl.DataFrame, spec: SplitsSection) -> dict[str, Any]:
    counts = dict(items["subset"].value_counts().iter_rows())
    sizes = items["group"].value_counts()["count"]
    return {
        "items": len(items),
        "items_per_subset": {name: counts[name] for name in spec.set_names},
        "share_per_subset": {name: round(counts[name] / len(items), 4) for name in spec.set_names},
        "wanted_per_subset": {info.set_name: info.probability for info in spec.set_infos},
        "groups": len(sizes),
        "largest_group": max(sizes),
        "labels_per_subset": _labels_per_subset(items, labels, spec),
    }


def _labels_per_subset(items: pl.DataFrame, labels: pl.DataFrame, spec: SplitsSection) -> dict[str, dict[str, int]]:
    if labels["label"].n_unique() > _MOST_LABELS:
        return {}
    counted = labels.join(items.select("item", "subset"), on="item").group_by("subset", "label").len().sort("label")
    return {name: dict(counted.filter(pl.col("subset") == name)["label", "len"].iter_rows()) for name in spec.set_names}
