"""Whether an exported model gives what the trained one gives, on items of the experiment's own test subset.

Both compute in float32. Belongs here: the items, the comparison. Does not belong here: exporting (``export``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.datasets.schema import CROPS_FILE, ITEMS_FILE, root_of
from assay.errors import DataError
from assay.inference.model import Model
from assay.inference.stored import StoredModel, is_table_model
from assay.stages.tabular import TABULAR_FILE
from assay.storage.parquet import read_parquet
from assay.training.class_targets import ClassTarget, LabelsTarget
from assay.training.model_card import AnyTarget
from assay.training.targets import NumberTarget

MOST_ITEMS = 256

TOLERANCE = 1e-4
"""Largest difference of probabilities, of numbers in standard deviations of the training targets, of boxes as a share
of the picture; and of pixels with another class as a share of all pixels."""

Items: TypeAlias = list[Path] | pl.DataFrame
Predicted: TypeAlias = tuple[pl.DataFrame, Mapping[str, NDArray[np.uint8]], pl.DataFrame]
"""Rows of predictions, masks by item, and the items with their sizes."""


@dataclass(frozen=True)
class Parity:
    """What a comparison found.

    Attributes:
        items: Number of items.
        largest_difference: Of the numbers, see ``TOLERANCE``.
        other_decisions: Items with another class, label or box although the numbers leave no doubt; of masks, 1 if too
            many pixels differ.
        tolerance: What was allowed.
    """

    items: int
    largest_difference: float
    other_decisions: int
    tolerance: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether the exported model may be used in place of the trained one."""
        return self.largest_difference <= self.tolerance and self.other_decisions == 0

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        if self.passed:
            return (
                f"The exported model gives the trained one's numbers in float32 on {self.items} test items, within "
                f"{self.largest_difference:.2g}."
            )
        return (
            f"The exported model differs from the trained one on {self.items} test items: by "
            f"{self.largest_difference:.3g}, where {self.tolerance:g} is allowed, and {self.other_decisions} of them "
            "are decided otherwise."
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def own_items(stored: StoredModel, most: int = MOST_ITEMS) -> Items:
    """Return the first items of the test subset that the model's experiment has.

    Raises:
        DataError: They are not stored here.
    """
    is_whole = stored.card.inputs.view == "images"
    stage, file = ("splits", ITEMS_FILE) if is_whole else ("crops", CROPS_FILE)
    if is_table_model(stored):
        stage, file = "tabular", TABULAR_FILE
    folder = stored.made_from(stage)
    if folder is None:
        raise DataError(
            f"{stored.name}: the test items are not in this storage ({stage} is missing), so that nobody could check "
            "what is exported. Export where the experiment was run, or run it here: assay run ID."
        )
    rows = read_parquet(folder / file)
    subsets = set(rows["subset"])
    subset = next((name for name in ("test", "validation") if name in subsets), min(subsets))
    chosen = rows.filter(pl.col("subset") == subset).head(most)
    if stage == "tabular":
        return chosen
    base = root_of(folder) if stage == "splits" else folder
    return [base / name for name in chosen["file"]]


def predicted_by(model: Model, items: Items) -> Predicted:
    """Return the predictions of a model for some items."""
    parts = list(model.parts(items))
    masks = {name: mask for part in parts for name, mask in part.masks.items()}
    if problems := [": ".join(each) for part in parts for each in part.problems]:
        raise DataError("Test items can't be read.", problems)
    return pl.concat([part.table for part in parts]), masks, pl.concat([part.items for part in parts])


def compare_predictions(model: Model, ours: Predicted, theirs: Predicted) -> Parity:
    """Compare two sets of predictions of the same items."""
    count = len(ours[2])
    if model.task == "segmentation":
        return Parity(count, *_masks_differ(ours[1], theirs[1]))
    if model.task == "detection":
        return Parity(count, *_boxes_differ(model, ours, theirs))
    target = model.stored.card.target
    if isinstance(target, NumberTarget):
        difference = _numbers(ours[0], "prediction") - _numbers(theirs[0], "prediction")
        return Parity(count, _largest(difference / target.std), 0)
    own, other = (_numbers(each[0], "^prob_.*$") for each in (ours, theirs))
    largest = _largest(own - other)
    if isinstance(target, LabelsTarget):
        decided = [each[0]["predicted_labels"].to_list() for each in (ours, theirs)]
        doubtful = (np.abs(own - np.array(target.thresholds)) <= TOLERANCE).any(axis=1)
    else:
        decided = [each[0]["predicted_class"].to_list() for each in (ours, theirs)]
        doubtful = _doubtful(own, target)
    pairs = zip(*decided, doubtful.tolist(), strict=True)
    return Parity(count, largest, sum(one != another and not doubt for one, another, doubt in pairs))


def _doubtful(probabilities: NDArray[np.float64], target: AnyTarget) -> NDArray[np.bool_]:
    """Return which of n items, with probabilities (n, k), would have another class within the tolerance."""
    if not isinstance(target, ClassTarget) or target.rarer is None:
        ordered = np.sort(probabilities, axis=1)
        return ordered[:, -1] - ordered[:, -2] <= 2 * TOLERANCE
    return np.abs(probabilities[:, target.classes.index(target.rarer)] - target.threshold) <= TOLERANCE


def _numbers(table: pl.DataFrame, columns: str) -> NDArray[np.float64]:
    return table.select(pl.col(columns).cast(pl.Float64)).to_numpy()


def _largest(differences: NDArray[np.float64]) -> float:
    """Return the largest difference; infinite where one of the numbers is none."""
    if not differences.size:
        return 0.0
    return float(np.abs(differences).max()) if np.isfinite(differences).all() else float("inf")


def _masks_differ(ours: Mapping[str, NDArray[np.uint8]], theirs: Mapping[str, NDArray[np.uint8]]) -> tuple[float, int]:
    different = pixels = 0
    for name, mask in ours.items():
        if theirs[name].shape != mask.shape:
            return float("inf"), 1
        different += int((theirs[name] != mask).sum())
        pixels += mask.size
    share = different / max(1, pixels)
    return share, int(share > TOLERANCE)


def _boxes_differ(model: Model, ours: Predicted, theirs: Predicted) -> tuple[float, int]:
    """Return the largest difference of boxes that belong together, and the items with others."""
    largest, wrong = 0.0, 0
    least = model.stored.predictions.prediction_handler.min_confidence
    tables = [dict(_by_item(each[0])) for each in (ours, theirs)]
    for item, width, height in ours[2].iter_rows():
        own, other = (table.get(item, []) for table in tables)
        scale = 1 / max(width, height)
        unmatched = list(other)
        for box in own:
            near = min(unmatched, key=lambda each: _distance(box, each, scale), default=None)
            distance = float("inf") if near is None else _distance(box, near, scale)
            if near is not None and distance <= TOLERANCE:
                largest = max(largest, distance)
                unmatched.remove(near)
            elif box[1] > _last_score(own, model, least) + TOLERANCE:
                wrong += 1
                break
        else:
            wrong += any(box[1] > _last_score(other, model, least) + TOLERANCE for box in unmatched)
    return largest, wrong


def _last_score(boxes: list[Any], model: Model, least: float) -> float:
    """Return the confidence at which boxes are no longer kept: by its least, or by the number of boxes."""
    full = len(boxes) >= model.stored.predictions.prediction_handler.max_boxes
    return float(boxes[-1][1]) if full else least


def _distance(one: Any, other: Any, scale: float) -> float:
    if one[0] != other[0]:
        return float("inf")
    places = max(abs(a - b) for a, b in zip(one[2:], other[2:], strict=True))
    return float(max(abs(one[1] - other[1]), places * scale))


def _by_item(table: pl.DataFrame) -> Iterable[tuple[str, list[Any]]]:
    columns = ("predicted_class", "confidence", "x_px", "y_px", "width_px", "height_px")
    for key, rows in table.group_by("item", maintain_order=True):
        yield str(key[0]), list(rows.select(columns).iter_rows())
