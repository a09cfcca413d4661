"""What experiments were tested on: a digest of the items behind their metrics, and of what is true of these.

Two numbers can be compared only if both are about the same items, with the same content and the same true values. How
the items came into the subset does not matter: another seed, or more training data, may give the same ones.

The digest is made from stored results, so experiments of any version of Assay have one.

Belongs here: which experiments were tested on the same items. Does not belong here: ranking them
(``assay.comparison.ranking``).
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from assay.datasets.schema import (
    ITEMS_FILE,
    MASK_CLASSES_FILE,
    OBJECT_COLUMNS,
    OBJECTS_FILE,
    PREDICTED_ITEMS_FILE,
    PREDICTIONS_FILE,
)
from assay.errors import AssayError, NotThereYetError, StorageError
from assay.pipeline import FINGERPRINT_LENGTH
from assay.spec.classes import ClassDescription, classes_of_labels
from assay.storage.files import MANIFEST
from assay.storage.parquet import read_parquet
from assay.storage.results import ResultStore
from assay.utils.reading import read_record
from assay.utils.text import canonical_json

MEANING = ("target", "classes", "class_mapping", "multi_label", "label_separator", "labels_of_no_class")
"""Keys of ``data_description`` on which the true values depend."""

EXTENT = ("datasets", "prediction_steps", "batch_size")
"""Keys of ``predictions`` on which it depends which items are predicted."""

_digests: dict[tuple[Path, str], str] = {}
"""By storage, and by all that determines which items were tested: results never change."""


def items_digests(root: Path, folder: Path, subsets: Iterable[str]) -> dict[str, str]:
    """Return, by subset, a digest of the items behind an experiment's metrics.

    Equal digests mean equal items, by name and content, and equal true values. If the stored tables can't be read, only
    experiments that were tested on the same results get the same digest.

    Args:
        root: Storage root.
        folder: Folder of an experiment whose analysis is complete.
        subsets: The subsets of the metrics.

    Raises:
        StorageError: A result that the folder refers to is gone.
    """
    return items_of_analysis(root, read_record(folder / MANIFEST)["results"]["analysis"], subsets)


def items_of_analysis(root: Path, analysis: str, subsets: Iterable[str]) -> dict[str, str]:
    """Return the same as ``items_digests``, for the fingerprint of an analysis.

    Raises:
        StorageError: A result that it was made from is gone.
    """
    fingerprint = manifest_of(root, "analysis", analysis)["ancestors"]["predictions"]
    manifest = manifest_of(root, "predictions", fingerprint)
    inputs, section = dict(manifest["inputs"]), manifest["section"]
    model = manifest_of(root, "trained_model", inputs.pop("trained_model"))
    description = model["section"].get("data_description") or {}
    meaning = {key: description.get(key) for key in MEANING}
    key = canonical_json([inputs, meaning, {name: section.get(name) for name in EXTENT}])
    return {subset: _digest(_Sources(root, fingerprint, inputs, meaning, subset), key) for subset in subsets}


@cache
def manifest_of(root: Path, stage: str, fingerprint: str) -> dict[str, Any]:
    """Return the manifest of a result; it can be cached because results never change.

    Raises:
        NotThereYetError: The result is gone.
        StorageError: Its manifest is damaged.
    """
    manifest = ResultStore(root).manifest(stage, fingerprint)
    if manifest is None:
        raise NotThereYetError(f"{stage} {fingerprint} was deleted.")
    return manifest


@dataclass(frozen=True)
class _Sources:
    """Where a subset's items and true values are stored.

    Attributes:
        root: Storage root.
        predictions: Fingerprint of the predictions.
        data: Fingerprint of the result that was predicted, by stage.
        meaning: Values of the keys ``MEANING``.
        subset: The subset.
    """

    root: Path
    predictions: str
    data: Mapping[str, str]
    meaning: Mapping[str, Any]
    subset: str

    def frames(self) -> Iterator[pl.DataFrame]:
        """Yield frames that together say which items were tested, and what is true of them.

        Raises:
            AssayError: A file is missing or damaged.
        """
        folder = ResultStore(self.root).open("predictions", self.predictions).folder
        whole_images = (folder / PREDICTED_ITEMS_FILE).is_file()
        if whole_images:
            yield self._rows(folder / PREDICTED_ITEMS_FILE, "item", "labelled")
            yield from self._annotations()
        else:
            yield self._targets(folder / PREDICTIONS_FILE)
        yield self._rows(self._splits / ITEMS_FILE, "item", "sha256")

    @property
    def _splits(self) -> Path:
        (name, fingerprint), *_ = self.data.items()
        if name != "splits":
            fingerprint = manifest_of(self.root, name, fingerprint)["ancestors"]["splits"]
        return ResultStore(self.root).tables("splits", fingerprint)

    def _rows(self, path: Path, *columns: str) -> pl.DataFrame:
        rows = read_parquet(path, ["subset", *columns]).filter(pl.col("subset") == self.subset)
        return rows.select(columns).sort(columns)

    def _targets(self, path: Path) -> pl.DataFrame:
        """Return the true value of each item that is scored: those whose value is known."""
        rows = read_parquet(path).filter(pl.col("subset") == self.subset)
        targets = [name for name in rows.columns if name in ("target", "target_class", "target_labels")]
        return rows.select("item", *targets).drop_nulls().sort("item")

    def _annotations(self) -> Iterator[pl.DataFrame]:
        """Yield boxes and masks of whole images, with the classes that their labels belong to."""
        class_of = _class_of(self.meaning)
        columns = [name for name in OBJECT_COLUMNS if name != "object"]
        objects = self._rows(self._splits / OBJECTS_FILE, *columns)
        yield _with_classes(objects, class_of).drop_nulls("label")
        if (self._splits / MASK_CLASSES_FILE).is_file():
            yield _with_classes(read_parquet(self._splits / MASK_CLASSES_FILE), class_of).sort("value")
            yield self._masks()

    def _masks(self) -> pl.DataFrame:
        masks = self._rows(self._splits / ITEMS_FILE, "item", "mask").drop_nulls()
        files = manifest_of(self.root, "splits", self._splits.name)["files"]
        if not all(name in files for name in masks["mask"]):
            raise StorageError("The masks lie in another folder, because no links to them could be made.")
        return masks.select("item", pl.Series("mask", [files[name]["sha256"] for name in masks["mask"]], pl.String))


def _digest(sources: _Sources, key: str) -> str:
    """Return the digest of the items; ``key`` has all that determines which items of which subset were tested."""
    place = sources.root, f"{sources.subset} {key}"
    if place not in _digests:
        try:
            content = "\n".join(frame.write_json() for frame in sources.frames())
        except (AssayError, OSError, pl.exceptions.PolarsError):
            content = place[1]
        _digests[place] = hashlib.sha256(content.encode()).hexdigest()[:FINGERPRINT_LENGTH]
    return _digests[place]


def _class_of(meaning: Mapping[str, Any]) -> Callable[[str], str | None]:
    """Return the function from a label to its class; None for labels of no class, which are ignored."""
    mapping = meaning["class_mapping"]
    if mapping:
        return lambda label: mapping.get(label)
    if not meaning["classes"]:
        return lambda label: label
    classes = [ClassDescription.model_validate(each) for each in meaning["classes"]]
    places = classes_of_labels(classes)
    return lambda label: classes[places[label][0]].name if label in places else None


def _with_classes(frame: pl.DataFrame, class_of: Callable[[str], str | None]) -> pl.DataFrame:
    """Return the frame with the class of each label instead; null for labels of no class."""
    classes = [None if label is None else class_of(label) for label in frame["label"]]
    return frame.with_columns(pl.Series("label", classes, dtype=pl.String))
