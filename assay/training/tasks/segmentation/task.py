"""Segmentation: the class of every pixel.

Belongs here: putting the parts together. Does not belong here: any of them (``assay.training.tasks.segmentation``).
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
import torch
from torch import Tensor

from assay.datasets.mask_classes import IGNORED
from assay.datasets.schema import BACKGROUND
from assay.errors import AssayError
from assay.training.data import DataSource
from assay.training.device import near_all
from assay.training.engine import forward
from assay.training.image_targets import MaskTarget, classes_in_masks, labels_in_masks, read_class_maps, scene_classes
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.losses import class_weights
from assay.training.model_card import AnyTarget
from assay.training.predictions import save_mask
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.dense import balanced, describe_scenes, has_truth, labelled, scenes_to_predict
from assay.training.tasks.images import Scene, as_scene_batch, enlarged, read_scenes
from assay.training.tasks.segmentation.dataset import SegmentationItems
from assay.training.tasks.segmentation.decode import SegmentationMeter, class_map
from assay.training.tasks.segmentation.loss import SegmentationLoss, plain_loss
from assay.training.tasks.statistics import Statistics, class_statistics
from assay.utils.concurrency import map_in_order

FULL_SIZE = 1 << 30
"""Longest side of truth that is not reduced."""

SCHEMA = pl.Schema(
    {
        "item": pl.String(),
        "subset": pl.String(),
        "target_class": pl.String(),
        "predicted_class": pl.String(),
        "pixels": pl.Int64(),
    }
)


def describe(request: TrainingRequest, train: pl.DataFrame) -> tuple[Inputs, MaskTarget]:
    """Return the size of the images and the classes that the training masks show."""
    threads = request.section.train_params.threads
    found, sides = labels_in_masks(request.source, labelled(train, request.section.data_train.subset), threads)
    classes, mapping = scene_classes(request.section.data_description, found)
    return describe_scenes(request, train, sides), MaskTarget(classes=classes, mapping=mapping)


def prepare(
    request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> TrainingTask:
    """Return images and masks, loss and meter."""
    section, masks = request.section, mask_target(target)
    items = {name: _items(request, inputs, masks, labelled(rows, name)) for name, rows in subsets.items()}
    train, item_classes = balanced(items[section.data_train.subset], request, len(masks.classes))
    weights = class_weights(section, masks.classes, _pixels_of_classes(train.masks, len(masks.classes)))
    return TrainingTask(
        section=section,
        train=train,
        validation=items[section.data_validation.subset] if section.data_validation else None,
        loss=SegmentationLoss(weights),
        plain_loss=plain_loss,
        meter=partial(SegmentationMeter, len(masks.classes)),
        seed=request.seed,
        classes=item_classes,
    )


def _items(request: TrainingRequest, inputs: Inputs, target: MaskTarget, rows: pl.DataFrame) -> SegmentationItems:
    section, params, size = request.section, request.section.train_params, inputs.image_size
    scenes = read_scenes(request.source, rows, size, params.threads)
    return SegmentationItems(
        images=near_all([scene.pixels for scene in scenes], params.device),
        masks=read_class_maps(request.source, rows, target, size, params.threads),
        window_size=section.data_description.window_size or 0,
        standardize=inputs.standardize,
        augmentation=section.data_train.augmentation,
    )


def _pixels_of_classes(masks: Sequence[Tensor], class_count: int) -> Tensor:
    """Return how many pixels each class has (k,)."""
    counts = sum((torch.bincount(mask.flatten(), minlength=256) for mask in masks), torch.zeros(256, dtype=torch.int64))
    return counts[1 : 1 + class_count]


@torch.no_grad()
def predict(request: PredictionRequest, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return how many pixels of each image are of which true and predicted class; masks go into masks/."""
    target = mask_target(request.card.target)

    def saved(pair: tuple[pl.DataFrame, Tensor]) -> pl.DataFrame:
        row, predicted = pair
        item = row["item"].item()
        save_mask(request.folder / "masks" / f"{item}.png", predicted, len(target.classes))
        return _counts(item, subset, _truth(request, target, row), predicted, target.classes)

    maps = (_predicted(request, scene) for scene in scenes_to_predict(request, rows))
    pairs = zip(rows.iter_slices(1), maps, strict=True)
    return pl.concat([SCHEMA.to_frame(), *map_in_order(saved, pairs, request.threads)])  # while the next is predicted


def _predicted(request: PredictionRequest, scene: Scene) -> Tensor:
    """Return the class of every pixel of the file's image: uint8 (height, width)."""
    card = request.card
    batch = as_scene_batch([scene.pixels], card.inputs.standardize)
    outputs = forward(request.model.network, batch, card.section.train_params.precision == "bf16")
    height, width = scene.pixels.shape[1:]
    target = mask_target(card.target)
    found = class_map(outputs, len(target.classes), width, height, target.least_middle)
    return enlarged(found.cpu(), scene.width_px, scene.height_px)


def _truth(request: PredictionRequest, target: MaskTarget, row: pl.DataFrame) -> Tensor | None:
    """Return the true class of every pixel, None where the truth is not known."""
    known = row["mask"].item() is not None and row["labelled"].item() is not False
    return read_class_maps(request.source, row, target, FULL_SIZE, 1)[0] if known else None


def _counts(item: str, subset: str, truth: Tensor | None, predicted: Tensor, classes: tuple[str, ...]) -> pl.DataFrame:
    """Return one row per pair of classes that occurs; pixels whose truth is not known are left out."""
    names = np.array([BACKGROUND, *classes])
    if truth is None:
        answers, pixels = np.unique(predicted.numpy(), return_counts=True)
        wanted = np.full(len(answers), None)
    else:
        pairs = truth.numpy().astype(np.int32) * 256 + predicted.numpy()
        counts = np.bincount(pairs.ravel(), minlength=256**2).reshape(256, 256)[:IGNORED]
        truths, answers = counts.nonzero()
        wanted, pixels = names[truths], counts[truths, answers]
    columns = {"target_class": wanted, "predicted_class": names[answers], "pixels": pixels}
    return (
        pl.DataFrame(columns).select(pl.lit(item).alias("item"), pl.lit(subset).alias("subset"), pl.all()).cast(SCHEMA)
    )


def truth_statistics(source: DataSource, target: AnyTarget, rows: pl.DataFrame) -> Statistics:
    """Return the images that show each class."""
    known, masks = rows.filter(has_truth(), pl.col("mask").is_not_null()), mask_target(target)
    return class_statistics(
        len(known), classes_in_masks(source, known, masks), masks.classes, "images that show the class"
    )


def mask_target(target: AnyTarget) -> MaskTarget:
    """Return a target of masks, as only such are trained here."""
    if not isinstance(target, MaskTarget):
        raise AssayError(f"Targets of kind {target.kind} are no masks.")
    return target
