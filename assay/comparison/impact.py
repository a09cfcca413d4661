"""What hangs on a file, an item or a label: the experiments that contain it, and what their metrics are without it.

Belongs here: finding items in stored data, metrics without them, results before and after data changed. Does not belong
here: two experiments of different specs (``assay.comparison.pairs``).
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from assay.comparison.load import Entry, Score
from assay.comparison.pairs import Pair, Results, TestedSubset, pair_of, read_tested, require_scores
from assay.comparison.tested import items_of_analysis
from assay.datasets.inspection import absolute_path
from assay.datasets.schema import ITEMS_FILE, OBJECTS_FILE, PREDICTED_ITEMS_FILE, mask_root_of, root_of
from assay.errors import MAX_CHOICES, AssayError, DataError, StorageError, nearest, shorten
from assay.experiments.contents import results_of_other_data, stage_results
from assay.metrics.registry import get_metrics
from assay.spec.analysis import TASK_METRICS
from assay.storage.files import MANIFEST
from assay.storage.parquet import read_parquet
from assay.storage.results import Result
from assay.training.class_targets import split_labels
from assay.training.predictions import PREDICTIONS
from assay.utils.reading import open_regular

LEFT_OUT = "none"
"""Stands for the subset of items that are in no subset."""
TARGETS = ("target", "target_class", "target_labels")


@dataclass(frozen=True)
class Effect:
    """A metric with and without the items.

    Attributes:
        subset: The subset.
        metric: Name of the metric.
        value: As it is stored.
        without: Without the items; NaN where it is not defined then.
    """

    subset: str
    metric: str
    value: float
    without: float


@dataclass(frozen=True)
class Place:
    """Where an experiment has the items.

    Attributes:
        experiment_id: The experiment.
        items: Their names.
        subsets: Number of them by subset; ``LEFT_OUT`` for those in none.
        learned: Whether its model learned from some of them, or was chosen by them, so that only a new model tells what
            it is without them.
        effects: The metrics that change, those that lead the analysis first.
        source: Keys of the source of the data.
    """

    experiment_id: str
    items: tuple[str, ...]
    subsets: Mapping[str, int]
    learned: bool
    effects: tuple[Effect, ...]
    source: Mapping[str, Any]


@dataclass(frozen=True)
class Impact:
    """What hangs on something.

    Attributes:
        kind: What it was taken for: ``file``, ``item`` or ``label``.
        places: The experiments that contain it: they are made anew when it changes.
        others: Experiments that do not.
        unknown: Experiments whose data are not in this storage.
    """

    kind: str
    places: tuple[Place, ...]
    others: tuple[str, ...]
    unknown: tuple[str, ...] = ()


@dataclass
class _Data:
    """The items of one result of ``generated_images``, or of ``splits`` where an import left that out.

    Attributes:
        folder: Folder of the result.
        source: Keys of the source of the data.
        separators: What stands between the labels of an item, according to the experiments that learn several.
        items: The items.
    """

    folder: Path
    source: Mapping[str, Any]
    separators: set[str] = field(default_factory=set)
    items: pl.DataFrame = field(init=False)

    def __post_init__(self) -> None:
        known = pl.scan_parquet(self.folder / ITEMS_FILE).collect_schema().names()
        wanted = [name for name in ("item", "sha256", "label", "file", "mask") if name in known]
        self.items = read_parquet(self.folder / ITEMS_FILE, wanted)

    def matching(self, kind: str, what: str, sha256: str) -> list[str]:
        """Return the items that are meant; ``sha256`` is that of a file."""
        if kind == "file":
            return self._of_file(Path(what).resolve(), sha256)
        if kind == "item":
            return self.items.filter(pl.col("item") == what)["item"].to_list()
        texts = [text for text in self.items["label"].drop_nulls().unique() if what in (text, *self._split(text))]
        own = self.items.filter(pl.col("label").is_in(texts))["item"].to_list()
        if own or not (self.folder / OBJECTS_FILE).is_file():
            return own
        objects = read_parquet(self.folder / OBJECTS_FILE, ["item", "label"])
        return objects.filter(pl.col("label") == what)["item"].unique().sort().to_list()

    def identity(self, item: str) -> tuple[str, str]:
        """Return the path of the source, empty for generated images, and the content of an item."""
        content = self.items.filter(pl.col("item") == item)["sha256"][0]
        return str(self.source.get("path", "")), str(content)

    def labels(self) -> set[str]:
        """Return the labels of items and boxes."""
        found = {label for text in self.items["label"].drop_nulls().unique() for label in self._split(text) if label}
        if (self.folder / OBJECTS_FILE).is_file():
            found |= set(read_parquet(self.folder / OBJECTS_FILE, ["label"])["label"].drop_nulls().unique())
        return found

    def _split(self, text: str) -> set[str]:
        """Return the labels in the label column's text for an item."""
        separators: Sequence[str | None] = (*self.separators,) or (None,)
        return {label for each in separators for label in split_labels(text, each)}

    def _of_file(self, path: Path, sha256: str) -> list[str]:
        """Return the items with this content, at this path, or with this mask; or those that a label file is about."""
        equal = self.items.filter(pl.col("sha256") == sha256)["item"].to_list()
        if equal:
            return equal
        for column, root in (("file", root_of), ("mask", mask_root_of)):
            if column in self.items.columns:
                top = root(self.folder).resolve()
                inner = path.relative_to(top).as_posix() if path.is_relative_to(top) else None
                found = self.items.filter(pl.col(column) == inner)["item"].to_list() if inner else []
                if found:
                    return found
        return self._of_labels(path)

    def _of_labels(self, path: Path) -> list[str]:
        source = absolute_path(str(self.source.get("path", "")))
        if "path" not in self.source or not (path == source or path.is_relative_to(source)):
            return []
        if self.source.get("kind") == "yolo" and "file" in self.items.columns:
            stems = pl.col("file").str.replace(r"^.*/", "").str.replace(r"\.[^.]*$", "")
            found = self.items.filter(stems == path.stem)["item"].to_list()
            if found:
                return found
        is_about_all = self.source.get("kind") == "table" or path.suffix.lower() in (".json", ".yaml", ".yml")
        return self.items["item"].to_list() if is_about_all else []


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def impact_of(root: Path, ids: Collection[str], what: str, whose: str | None = None) -> Impact:
    """Return what hangs on a file, an item or a label.

    Args:
        root: Storage root.
        ids: The experiments to look at.
        what: Path of a file of the data, name of an item as tables show it, or a label.
        whose: An experiment that has the item, where items of several data have this name.

    Raises:
        DataError: No experiment contains it, with the nearest item or label; or items of several data have this name.
    """
    results = {name: stage_results(root, name) for name in sorted(ids)}
    data = {name: found for name, each in results.items() if (found := _data_of(each)) is not None}
    opened: dict[Path, _Data] = {}
    for name, (folder, source) in data.items():
        if folder not in opened:
            opened[folder] = _Data(folder, source)
        opened[folder].separators |= _separators_in(results[name])
    for kind in ("file", "item", "label"):
        if kind == "file" and not Path(what).is_file():
            continue
        sha256 = _sha256(Path(what)) if kind == "file" else ""
        matches = {folder: each.matching(kind, what, sha256) for folder, each in opened.items()}
        if kind == "item":
            matches = _of_one_source(what, whose, matches, data, opened)
        places = tuple(
            _place(name, results[name], matches[folder], source)
            for name, (folder, source) in data.items()
            if matches.get(folder)
        )
        if places:
            containing = {place.experiment_id for place in places}
            return Impact(
                kind,
                places,
                tuple(name for name in data if name not in containing),
                tuple(name for name, each in results.items() if each and name not in data),
            )
    raise DataError(_not_found(what, list(opened.values())))


def _of_one_source(
    what: str,
    whose: str | None,
    matches: Mapping[Path, list[str]],
    data: Mapping[str, tuple[Path, Mapping[str, Any]]],
    opened: Mapping[Path, _Data],
) -> dict[Path, list[str]]:
    """Return the matches that are one item: rows of two tables have the same names, for they are numbers.

    The item of one path stays the same when its content changes; where the path differs, or there is none, the content
    must be the same.
    """
    found = {folder: items for folder, items in matches.items() if items}
    anchors = [folder for folder in found if whose is None or (whose in data and data[whose][0] == folder)]
    if not anchors:
        if found:
            raise DataError(f"--of: {whose} has no item {what!r}.")
        return {}
    path, content = opened[anchors[0]].identity(what)
    same = {
        folder: items
        for folder, items in found.items()
        if opened[folder].identity(what)[1] == content or (path and opened[folder].identity(what)[0] == path)
    }
    if whose is None and len(same) < len(found):
        one, other = (
            next(name for name, (folder, _) in data.items() if folder in each)
            for each in (same, found.keys() - same.keys())
        )
        raise DataError(
            f"{what} is not the same item in {one} and in {other}, whose data differ. Say whose: assay impact {what} "
            f"--of {one}"
        )
    return same


def _separators_in(results: Results) -> set[str]:
    described = (
        results["trained_model"].manifest["section"].get("data_description") if "trained_model" in results else {}
    )
    separator = (described or {}).get("label_separator")
    return {separator} if separator else set()


def _data_of(results: Results) -> tuple[Path, Mapping[str, Any]] | None:
    for stage in ("generated_images", "splits"):
        if stage in results:
            section = results[stage].manifest["section"]
            return results[stage].folder, section.get("source", {})
    return None


_MOST_COMPARED = 10_000


def _not_found(what: str, data: Sequence[_Data]) -> str:
    if not data:
        return "No experiment has results in this storage. Next: assay run ID"
    if Path(what).is_file():
        return f"{what}: no stored experiment was made from this file."
    labels = sorted(set().union(*(each.labels() for each in data)))
    items = {name for each in data if len(each.items) <= _MOST_COMPARED for name in each.items["item"]}
    guess = nearest(what, [*labels, *items] if len(labels) + len(items) <= _MOST_COMPARED else labels)
    hint = f" Did you mean {guess!r}?" if guess else ""
    listed = ", ".join(labels[:MAX_CHOICES]) + (", …" if len(labels) > MAX_CHOICES else "")
    item = next((each.items["item"][0] for each in data if len(each.items)), "")
    return (
        f"{shorten(what)} is no file, item or label of the stored experiments.{hint} Labels: {listed or 'none'}; items "
        f"are named like {item}."
    )


def _place(name: str, results: Results, items: Sequence[str], source: Mapping[str, Any]) -> Place:
    subsets = dict.fromkeys([LEFT_OUT], len(items))
    if "splits" in results:
        rows = read_parquet(results["splits"].folder / ITEMS_FILE, ["item", "subset"])
        counted = dict(
            rows.filter(pl.col("item").is_in(list(items)))["subset"].value_counts().sort("subset").iter_rows()
        )
        subsets = {**counted, LEFT_OUT: len(items) - sum(counted.values())}
    subsets = {subset: count for subset, count in subsets.items() if count}
    learned = _has_learned(results, subsets)
    return Place(name, tuple(items), subsets, learned, tuple(_effects(results, set(items), subsets)), source)


def _has_learned(results: Results, subsets: Mapping[str, int]) -> bool:
    model = results.get("trained_model")
    if model is None or "splits" not in results:
        return False
    if model.manifest["ancestors"].get("splits") != results["splits"].fingerprint:
        return False  # an evaluation's model learned from other data
    section = model.manifest["section"]
    used = [(section.get(key) or {}).get("subset") for key in ("data_train", "data_validation")]
    return any(subset in used for subset in subsets)


def _effects(results: Results, items: set[str], subsets: Mapping[str, int]) -> Iterator[Effect]:
    """Yield the metrics of each subset that change when the items are taken out of the predictions."""
    if not {"analysis", "predictions", "trained_model"} <= results.keys():
        return
    for subset, metrics in results["analysis"].report.get("metrics", {}).items():
        if subset in subsets:
            try:
                yield from _effects_on(read_tested(results, subset), items, metrics)
            except (AssayError, OSError):
                continue  # such as predictions of whole images whose images are not in this storage


def _effects_on(tested: TestedSubset, items: set[str], metrics: Mapping[str, Mapping[str, Any]]) -> Iterator[Effect]:
    sample = tested.data.sample
    kept = np.array([not items.intersection(names) for names in _scored_items(tested)], np.float64)
    if kept.all() or len(kept) != sample.weights.shape[1]:
        return
    task = str(tested.results["analysis"].manifest["task"])
    leading = [name for name in TASK_METRICS.get(task, ()) if name in metrics]
    names = dict.fromkeys([*leading, *metrics])
    known = get_metrics(names, task, len(sample.class_counts) or None)
    for name, metric in known.items():
        value = metrics[name].get("value")
        if metric.per_class or value is None:
            continue
        without = float(metric.compute(replace(sample, weights=kept[None]))[0]) if kept.any() else float("nan")
        yield Effect(tested.subset, name, float(value), without)


def _scored_items(tested: TestedSubset) -> list[tuple[str, ...]]:
    """Return, in the order of the sample, the item of each and the image that it was cut from."""
    folder = tested.results["predictions"].folder
    rows = read_parquet(folder / PREDICTIONS).filter(pl.col("subset") == tested.subset)
    target = next((name for name in TARGETS if name in rows.columns), None)
    if target is None:
        rows = read_parquet(folder / PREDICTED_ITEMS_FILE).filter(pl.col("subset") == tested.subset)
        rows = rows.filter(pl.col("labelled").fill_null(True))
    else:
        rows = rows.filter(pl.col(target).is_not_null()).sort("item", maintain_order=True)
    if (folder / PREDICTED_ITEMS_FILE).is_file():
        rows = rows.unique("item", maintain_order=True)
    names = [name for name in ("item", "image") if name in rows.columns]
    return [tuple(map(str, row)) for row in rows.select(names).iter_rows()]


@dataclass(frozen=True)
class BeforeAndNow:
    """An experiment's results before its data changed beside those of now.

    Attributes:
        pair: Both, called ``before`` and ``now``; without metrics where the tested items or their truth changed.
        items: What became of items: name and change, the changed ones first.
        made: When the earlier results were made.
    """

    pair: Pair
    items: tuple[tuple[str, str], ...]
    made: datetime


def before_and_now(root: Path, entry: Entry, subset: str) -> BeforeAndNow:
    """Compare an experiment's results with those of the same spec before its data changed.

    Args:
        root: Storage root.
        entry: The experiment, with its scores.
        subset: The subset of the scores.

    Raises:
        StorageError: There are no such results.
    """
    require_scores(entry)
    name, former = entry.experiment_id, results_of_other_data(root, entry.experiment_id)
    if not former:
        raise StorageError(
            f"{name} has no results of other data in this storage: its data never changed, or 'assay gc' has deleted "
            "them. To compare two experiments: assay diff FIRST SECOND."
        )
    now = stage_results(root, name)
    tested = items_of_analysis(root, former["analysis"].fingerprint, [subset])[subset]
    before = replace(entry, experiment_id="before", scores=_scores_of(former["analysis"], subset), tested=tested)
    pair, _ = pair_of((before, replace(entry, experiment_id="now")), (former, now), subset)
    items = tuple(_changed_items(former["generated_images"], now["generated_images"]))
    made = datetime.fromtimestamp((former["analysis"].folder / MANIFEST).stat().st_mtime, UTC)
    return BeforeAndNow(pair, items, made)


def _scores_of(analysis: Result, subset: str) -> dict[str, Score]:
    metrics = analysis.report.get("metrics", {}).get(subset, {})
    count = int(analysis.report.get("rows", {}).get(subset, 0))
    return {
        name: Score(
            row["value"], row["ci_low"], row["ci_high"], row["baseline"], row["baseline_name"], row["unit"], count
        )
        for name, row in metrics.items()
    }


def _changed_items(before: Result, now: Result) -> Iterator[tuple[str, str]]:
    """Yield the items that differ between two states of the data, and how."""
    one, other = _states(before.folder), _states(now.folder)
    for item in sorted(one.keys() & other.keys()):
        if one[item] != other[item]:
            label, new = one[item][1], other[item][1]
            yield item, f"{label} is now {new}" if label != new else "its content or its annotations changed"
    yield from ((item, _with_label("removed", one[item])) for item in sorted(one.keys() - other.keys()))
    yield from ((item, _with_label("added", other[item])) for item in sorted(other.keys() - one.keys()))


def _with_label(change: str, state: tuple[str, str | None, str]) -> str:
    return change if state[1] is None else f"{change}, {state[1]}"


def _states(folder: Path) -> dict[str, tuple[str, str | None, str]]:
    """Return content, label and objects of each item."""
    objects: dict[str, str] = {}
    if (folder / OBJECTS_FILE).is_file():
        for (item,), rows in read_parquet(folder / OBJECTS_FILE).partition_by("item", as_dict=True).items():
            objects[str(item)] = rows.write_json()
    rows = read_parquet(folder / ITEMS_FILE, ["item", "sha256", "label"])
    return {item: (sha256, label, objects.get(item, "")) for item, sha256, label in rows.iter_rows()}
