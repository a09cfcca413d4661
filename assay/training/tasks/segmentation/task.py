"""Segmentation: the class of every pixel; the functions of ``Task``, and the table of confused pixels."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
import torch
from torch import Tensor

from assay.datasets.mask_classes import IGNORED
from assay.datasets.schema import BACKGROUND
from assay.errors import AssayError
from assay.training.annotations import Annotations, classes_in_masks, labels_in_masks, read_class_maps
from assay.training.device import all_to_device
from assay.training.engine import forward
from assay.training.image_targets import MaskTarget, fit_image_classes
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.losses import class_weights
from assay.training.model_card import AnyTarget
from assay.training.model_file import LoadedModel
from assay.training.predictions import save_mask
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.dense import balance_subset, describe_images, has_ground_truth, images_to_predict, labelled
from assay.training.tasks.images import ResizedImage, image_batch, read_images, resize_classes
from assay.training.tasks.segmentation.dataset import SegmentationDataset
from assay.training.tasks.segmentation.decode import SegmentationRunningMetric, class_map
from assay.training.tasks.segmentation.loss import SegmentationLoss, plain_segmentation_loss
from assay.training.tasks.statistics import Statistics, class_statistics
from assay.utils.concurrency import map_in_order

FULL_SIZE = 1 << 30
"""Longest side for masks that are not reduced."""

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
    known = labelled(train, request.section.data_train.subset)
    labels, sides = labels_in_masks(request.annotations, known, threads)
    classes, mapping = fit_image_classes(request.section.data_description, labels)
    return describe_images(request, train, sides), MaskTarget(classes=classes, mapping=mapping)


def prepare(
    request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> TrainingTask:
    """Return datasets with images and masks, losses and running metric."""
    section, masks = request.section, mask_target(target)
    datasets = {name: _dataset(request, inputs, masks, labelled(rows, name)) for name, rows in subsets.items()}
    train, item_classes = balance_subset(datasets[section.data_train.subset], request, len(masks.classes))
    weights = class_weights(section, masks.classes, _pixels_of_classes(train.targets, len(masks.classes)))
    return TrainingTask(
        section=section,
        train=train,
        validation=datasets[section.data_validation.subset] if section.data_validation else None,
        loss=SegmentationLoss(weights),
        plain_loss=plain_segmentation_loss,
        running_metric=partial(SegmentationRunningMetric, len(masks.classes)),
        seed=request.seed,
        classes=item_classes,
    )


def _dataset(request: TrainingRequest, inputs: Inputs, target: MaskTarget, rows: pl.DataFrame) -> SegmentationDataset:
    section, params, size = request.section, request.section.train_params, inputs.image_size
    images = read_images(request.source, rows, size, params.threads)
    return SegmentationDataset(
        images=all_to_device([image.pixels for image in images], params.device),
        targets=read_class_maps(request.annotations, rows, target, size, params.threads),
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
    """Return the number of pixels of each image by true and predicted class; write the predicted masks into masks/."""
    target = mask_target(request.card.target)

    def saved(pair: tuple[pl.DataFrame, Tensor]) -> pl.DataFrame:
        row, predicted = pair
        item = row["item"].item()
        save_mask(request.folder / "masks" / f"{item}.png", predicted, len(target.classes))
        return pixel_counts(item, subset, _true_mask(request, target, row), predicted, target.classes)

    maps = (segment(request.model, image) for image in images_to_predict(request, rows))
    pairs = zip(rows.iter_slices(1), maps, strict=True)
    # Masks are compared and saved while the network predicts the next image.
    return pl.concat([SCHEMA.to_frame(), *map_in_order(saved, pairs, request.threads)])


@torch.no_grad()
def segment(model: LoadedModel, image: ResizedImage) -> Tensor:
    """Return the predicted class of every pixel of the original image: uint8 (height, width)."""
    card = model.card
    batch = image_batch([image.pixels], card.inputs.standardize)
    outputs = forward(model.network, batch, card.section.train_params.precision == "bf16")
    height, width = image.pixels.shape[1:]
    target = mask_target(card.target)
    classes = class_map(outputs, len(target.classes), width, height, target.least_middle)
    return resize_classes(classes.cpu(), image.width_px, image.height_px)


def _true_mask(request: PredictionRequest, target: MaskTarget, row: pl.DataFrame) -> Tensor | None:
    """Return the true class of every pixel, None where the ground truth of the image is unknown."""
    known = row["mask"].item() is not None and row["labelled"].item() is not False
    return read_class_maps(request.annotations, row, target, FULL_SIZE, 1)[0] if known else None


def pixel_counts(
    item: str, subset: str, true: Tensor | None, predicted: Tensor, classes: tuple[str, ...]
) -> pl.DataFrame:
    """Return one row per pair of classes that occurs, without pixels whose class is unknown."""
    names = np.array([BACKGROUND, *classes])
    if true is None:
        columns, pixels = np.unique(predicted.numpy(), return_counts=True)
        target_names = np.full(len(columns), None)
    else:
        pairs = true.numpy().astype(np.int32) * 256 + predicted.numpy()
        counts = np.bincount(pairs.ravel(), minlength=256**2).reshape(256, 256)[:IGNORED]
        rows, columns = counts.nonzero()
        target_names, pixels = names[rows], counts[rows, columns]
    table = pl.DataFrame({"target_class": target_names, "predicted_class": names[columns], "pixels": pixels})
    return table.select(pl.lit(item).alias("item"), pl.lit(subset).alias("subset"), pl.all()).cast(SCHEMA)


def ground_truth_statistics(annotations: Annotations, target: AnyTarget, rows: pl.DataFrame) -> Statistics:
    """Return the number of images that show each class."""
    known, masks = rows.filter(has_ground_truth(), pl.col("mask").is_not_null()), mask_target(target)
    classes = classes_in_masks(annotations, known, masks)
    return class_statistics(len(known), classes, masks.classes, "images that show the class")


def mask_target(target: AnyTarget) -> MaskTarget:
    """Return the target, which must be one of masks.

    Raises:
        AssayError: It is of another kind.
    """
    if not isinstance(target, MaskTarget):
        raise AssayError(f"Targets of kind {target.kind} are no masks.")
    return target
