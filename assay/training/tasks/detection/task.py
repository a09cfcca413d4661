"""Detection: boxes around objects, and their classes; the functions of ``Task``, and the table of predicted boxes.

Belongs here: images with boxes in memory, and what becomes of the boxes in training windows. Does not belong here: what
the outputs mean (``boxes``), the loss (``criterion``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import polars as pl
import torch
from torch import Tensor

from assay.errors import AssayError, DataError
from assay.spec.classes import REDUCTIONS
from assay.spec.predictions import PredictionHandler
from assay.spec.recipes import recipe_of
from assay.training.annotations import Annotations, boxes_of_rows, objects_of
from assay.training.device import all_to_device
from assay.training.engine import forward
from assay.training.image_targets import BoxTarget, fit_image_classes
from assay.training.inputs import Inputs
from assay.training.interfaces import CROWD, NO_OBJECT, Batch, EvaluationDataset, RunningMetric, TrainingTask
from assay.training.model_card import AnyTarget, ModelCard
from assay.training.model_file import LoadedModel
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.dense import balance_subset, describe_images, has_ground_truth, images_to_predict, labelled
from assay.training.tasks.detection.boxes import Detections, area, clip
from assay.training.tasks.detection.criterion import DetectionRunningMetric, PyramidRunningMetric, detection_loss
from assay.training.tasks.detection.pyramid import (
    Pyramid,
    boxes_at,
    decode_pyramid,
    fitting_reductions,
    reduced_picture,
    training_pictures,
)
from assay.training.tasks.images import ResizedImage, image_batch, read_images, split_images
from assay.training.tasks.statistics import Statistics, class_statistics
from assay.training.tasks.windows import DrawnWindows, WindowDataset
from assay.utils.text import natural_sort_key, pluralize


@dataclass(frozen=True)
class DetectionDataset(WindowDataset):
    """A subset of images with boxes.

    The target of an image is float32 (m, 5): class, left, top, right, bottom in its pixels; class -2 for crowd regions.
    Batches have (B, M, 5), padded with rows of class -1.
    """

    @cached_property
    def objects(self) -> list[Tensor]:
        """Class and box of each object of each image (m, 5), without crowds."""
        return [boxes[boxes[:, 0] >= 0] for boxes in self.targets]

    def window_targets(self, drawn: DrawnWindows) -> Tensor:
        """Return the boxes in some windows (B, M, 5)."""
        targets = stacked_boxes([self.targets[index] for index in drawn.indices])
        boxes = targets[..., 1:] - drawn.corners.repeat(1, 2)[:, None]
        targets[..., 1:] = transformed_boxes(boxes, drawn.maps, self.window_size)
        return boxes_in_window(targets, self.window_size)

    def stacked_targets(self, targets: Sequence[Tensor], height: int, width: int) -> Tensor:
        """Return the boxes of whole images (B, M, 5)."""
        return stacked_boxes(targets)


@dataclass(frozen=True)
class ReducedImages:
    """Images for evaluation with all their reductions.

    Attributes:
        levels: The same images at each reduction, with their targets there.
    """

    levels: tuple[DetectionDataset, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.levels[0].images)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """Yield all images in order, each part of them at one reduction after the other."""
        for part in split_images(self.levels[0].images, batch_size):
            for level in self.levels:
                yield image_batch(level.images[part], level.standardize), stacked_boxes(level.targets[part])


def reduced_images(dataset: DetectionDataset, pyramid: Pyramid) -> ReducedImages:
    """Return a subset of images with their reductions, for evaluation."""
    return ReducedImages(
        tuple(
            replace(
                dataset,
                images=[reduced_picture(each, factor) for each in dataset.images],
                targets=[boxes_at(each, pyramid, place) for each in dataset.targets],
            )
            for place, factor in enumerate(pyramid.reductions)
        )
    )


VISIBLE_SHARE = 0.6
"""Least share of an object's box inside a window for its visible part to be a training target."""


def transformed_boxes(boxes: Tensor, maps: Tensor, side: int) -> Tensor:
    """Return boxes where ``windows.resampled`` moves their content.

    Zoom and shift are exact. A rotated box becomes the box around the rotated ellipse that the box contained: the box
    around the rotated corners would be larger than most objects (Kalra et al., *Towards Rotation Invariance in Object
    Detection*, 2021).

    Args:
        boxes: (B, M, 4) in pixels of the window.
        maps: (B, 2, 3) from ``augmentation.random_maps``.
        side: Side of the window in pixels.
    """
    inverse = torch.linalg.inv(maps[:, :, :2])  # (B, 2, 2): from the original to the transformed window
    half = side / 2
    centers = (boxes[..., :2] + boxes[..., 2:]) / 2 - half * (1 + maps[:, None, :, 2])  # (B, M, 2)
    centers = centers @ inverse.mT + half
    reach = (boxes[..., 2:] - boxes[..., :2]).square() @ inverse.square().mT  # (B, M, 2)
    reach = reach.sqrt() / 2
    return torch.cat([centers - reach, centers + reach], -1)


def boxes_in_window(targets: Tensor, side: int) -> Tensor:
    """Return the visible parts of boxes in a window.

    Objects cut off by the window count with their visible part, as they do at the edge of an image. Where only a small
    part is visible, it becomes a crowd region: detecting half an object is neither right nor wrong. So a network learns
    hardly anything about objects much larger than the window, because their windows lie within them. Reduce such images
    (``data_description.image_size``) or enlarge the window.

    Args:
        targets: (B, M, 5): class, left, top, right, bottom in pixels of the window.
        side: Side of the window in pixels.

    Returns:
        (B, N, 5) with N <= M: padding that all windows have is left out.
    """
    classes, boxes = targets[..., 0], targets[..., 1:]
    visible = clip(boxes, side, side)
    share = area(visible) / area(boxes).clamp(min=1e-6)
    classes = torch.where((classes >= 0) & (share < VISIBLE_SHARE), CROWD, classes)
    classes = torch.where(area(visible) > 0, classes, NO_OBJECT)
    order = (classes == NO_OBJECT).to(torch.uint8).argsort(dim=1, stable=True)
    ordered = torch.take_along_dim(torch.cat([classes[..., None], visible], -1), order[..., None], 1)
    return ordered[:, : int((classes != NO_OBJECT).sum(1).max())]


def too_large(dataset: DetectionDataset, image_size: int, reductions: tuple[int, ...] = (1,)) -> tuple[str, ...]:
    """Return a warning if no window shows enough of some objects, of which the network then learns nothing.

    Args:
        dataset: The training images.
        image_size: Longest side in pixels to which they were reduced.
        reductions: Further reductions at which windows are cut out of them.
    """
    sides = torch.cat([each[:, 3:] - each[:, 1:3] for each in dataset.objects]).clamp(min=1e-6)  # (n, 2)
    window = dataset.window_size * reductions[-1]
    visible = (sides.clamp(max=window) / sides).prod(1)
    count = int((visible < VISIBLE_SHARE).sum())
    if not count:
        return ()
    wanted = VISIBLE_SHARE**0.5 * sides.max().item()  # of a square object, as much of each side is enough
    larger = min(-(-int(wanted / reductions[-1] + 1) // 16) * 16, 4096)
    smaller = max(int(image_size * window / wanted), 4)
    further = [1, *(factor for factor in REDUCTIONS[1:] if dataset.window_size * factor < 2 * wanted)]
    where = f" of images reduced by {reductions[-1]}" if len(reductions) > 1 else ""
    return (
        f"{count:,} of {pluralize(len(sides), 'training object is', 'training objects are')} too large for "
        f"the training windows of {dataset.window_size} px{where}: none "
        f"shows {VISIBLE_SHARE:.0%} of them, so that the network learns nothing about them and will miss such objects. "
        f"Set trained_model.data_description.reductions: {further}, or window_size: {larger}, or reduce the images "
        f"with image_size: {smaller}.",
    )


def stacked_boxes(boxes: Sequence[Tensor]) -> Tensor:
    """Return the boxes (m, 5) of several images as one tensor (B, M, 5), padded with rows of class -1."""
    most = max((len(own) for own in boxes), default=0)
    stacked = torch.zeros(len(boxes), most, 5)
    stacked[..., 0] = NO_OBJECT
    for row, own in enumerate(boxes):
        stacked[row, : len(own)] = own
    return stacked


SCHEMA = pl.Schema(
    {
        "item": pl.String(),
        "subset": pl.String(),
        "predicted_class": pl.String(),
        "confidence": pl.Float32(),
        "x_px": pl.Float32(),
        "y_px": pl.Float32(),
        "width_px": pl.Float32(),
        "height_px": pl.Float32(),
    }
)


def describe(request: TrainingRequest, train: pl.DataFrame) -> tuple[Inputs, BoxTarget]:
    """Return the size of the images and the classes of the objects, from the training images."""
    objects = objects_of(request.annotations, train).filter(~pl.col("crowd").fill_null(False))
    labels = sorted(objects["label"].drop_nulls().unique(), key=natural_sort_key)
    classes, mapping = fit_image_classes(request.section.data_description, labels)
    known = objects.filter(pl.col("label").is_in(list(mapping)))
    sides = known.select(pl.max_horizontal("width_px", "height_px")).to_series()
    inputs = describe_images(request, train, sides.to_list())
    reductions = _reductions(request, inputs, known, train)
    return inputs.model_copy(update={"reductions": reductions}), BoxTarget(classes=classes, mapping=mapping)


def _reductions(
    request: TrainingRequest, inputs: Inputs, objects: pl.DataFrame, train: pl.DataFrame
) -> tuple[int, ...]:
    """Return the reductions of the spec, or those that the sizes of the training objects call for."""
    description = request.section.data_description
    if description.reductions is not None:
        return description.reductions
    images = train.select("item", pl.max_horizontal("width_px", "height_px").alias("longest_px"))
    share = (inputs.image_size / pl.col("longest_px")).clip(upper_bound=1.0)
    sides = objects.join(images, on="item").select(pl.max_horizontal("width_px", "height_px") * share)
    window = description.window_size or recipe_of(request.task, inputs.view).window_size or 0
    return fitting_reductions(sides.to_series().to_numpy(), window)


def prepare(
    request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> TrainingTask:
    """Return datasets with images and boxes, losses and running metric."""
    section, boxes_target = request.section, box_target(target)
    datasets = {name: _dataset(request, inputs, boxes_target, labelled(rows, name)) for name, rows in subsets.items()}
    if not any(len(boxes) for boxes in datasets[section.data_train.subset].targets):
        raise DataError(f"The subset {section.data_train.subset!r} has no box of a class that is looked for.")
    images = datasets[section.data_train.subset]
    pyramid = Pyramid(inputs.reductions, images.window_size)
    train, item_classes = balance_subset(_to_train_on(images, pyramid), request, len(boxes_target.classes))
    known = datasets[section.data_validation.subset] if section.data_validation else None
    validation, running_metric = _to_choose_by(known, pyramid, len(boxes_target.classes))
    return TrainingTask(
        section=section,
        train=train,
        validation=validation,
        loss=detection_loss,
        plain_loss=detection_loss,
        running_metric=running_metric,
        seed=request.seed,
        classes=item_classes,
        warnings=too_large(images, inputs.image_size, inputs.reductions),
        notes=_told(images, pyramid),
    )


def _told(images: DetectionDataset, pyramid: Pyramid) -> tuple[str, ...]:
    """Return a sentence on the reductions; none where the network looks at the images alone."""
    if pyramid.reductions == (1,):
        return ()
    sides = torch.cat([each[:, 3:] - each[:, 1:3] for each in images.objects])
    largest = float(sides.max()) if len(sides) else 0.0
    return (
        f"The training objects are up to {largest:.0f} px large, the training windows {pyramid.window_size} px: the "
        f"network looks at every image as it is and reduced by {' and by '.join(map(str, pyramid.reductions[1:]))} "
        f"(trained_model.data_description.reductions: {list(pyramid.reductions)}).",
    )


def _to_train_on(images: DetectionDataset, pyramid: Pyramid) -> DetectionDataset:
    if pyramid.reductions == (1,):
        return images
    pictures, targets = training_pictures(images.images, images.targets, pyramid)
    return replace(images, images=pictures, targets=targets)


def _to_choose_by(
    images: DetectionDataset | None, pyramid: Pyramid, class_count: int
) -> tuple[EvaluationDataset | None, Callable[[], RunningMetric]]:
    """Return the validation data and their metric."""
    if images is None or pyramid.reductions == (1,):
        return images, partial(DetectionRunningMetric, class_count)
    return reduced_images(images, pyramid), partial(PyramidRunningMetric, class_count, images.targets, pyramid)


def _dataset(request: TrainingRequest, inputs: Inputs, target: BoxTarget, rows: pl.DataFrame) -> DetectionDataset:
    section, params, size = request.section, request.section.train_params, inputs.image_size
    images = read_images(request.source, rows, size, params.threads)
    return DetectionDataset(
        images=all_to_device([image.pixels for image in images], params.device),
        targets=boxes_of_rows(request.annotations, rows, target, size),
        window_size=section.data_description.window_size or 0,
        standardize=inputs.standardize,
        augmentation=section.data_train.augmentation,
    )


def predict(request: PredictionRequest, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per detection, those of each image in descending order of their confidence."""
    target = box_target(request.card.target)
    parts = [
        detection_rows(item, subset, detections, image, target)
        for item, (image, detections) in zip(rows["item"], _detections(request, rows), strict=True)
    ]
    return pl.concat([SCHEMA.to_frame(), *parts])


def _detections(request: PredictionRequest, rows: pl.DataFrame) -> Iterator[tuple[ResizedImage, Detections]]:
    for image in images_to_predict(request, rows):
        yield image, detect(request.model, request.section.prediction_handler, image)


@torch.no_grad()
def detect(model: LoadedModel, handler: PredictionHandler, image: ResizedImage) -> Detections:
    """Return the detections in one image, in pixels of the reduced image.

    Args:
        model: Not changed.
        handler: Which detections are kept.
        image: At the size of ``model.card.inputs``.
    """
    card = model.card
    bf16, pyramid = card.section.train_params.precision == "bf16", pyramid_of(card)
    pictures = [reduced_picture(image.pixels, factor) for factor in pyramid.reductions]
    outputs = [forward(model.network, image_batch([each], card.inputs.standardize), bf16) for each in pictures]
    height, width = image.pixels.shape[1:]
    limits = handler.min_confidence, handler.max_boxes, handler.most_overlap
    (detections,) = decode_pyramid(outputs, torch.tensor([[width, height]]), pyramid, *limits)
    return detections


def pyramid_of(card: ModelCard) -> Pyramid:
    """Return the reductions at which a model looks at an image."""
    return Pyramid(card.inputs.reductions, card.section.data_description.window_size or 0)


def detection_rows(
    item: str, subset: str, detections: Detections, image: ResizedImage, target: BoxTarget
) -> pl.DataFrame:
    """Return detections as rows of ``predictions.parquet``, in pixels of the original image."""
    across, down = image.scale
    left, top, right, bottom = (detections.boxes / torch.tensor([across, down, across, down])).unbind(1)
    return pl.DataFrame(
        {
            "item": [item] * len(detections.scores),
            "subset": [subset] * len(detections.scores),
            "predicted_class": [target.classes[index] for index in detections.classes.tolist()],
            "confidence": detections.scores.numpy(),
            "x_px": left.numpy(),
            "y_px": top.numpy(),
            "width_px": (right - left).numpy(),
            "height_px": (bottom - top).numpy(),
        },
        schema=SCHEMA,
    )


def ground_truth_statistics(annotations: Annotations, target: AnyTarget, rows: pl.DataFrame) -> Statistics:
    """Return the number of boxes of each class, without crowds."""
    known, boxes = rows.filter(has_ground_truth()), box_target(target)
    labels = objects_of(annotations, known).filter(~pl.col("crowd").fill_null(False))["label"].drop_nulls()
    classes = (boxes.mapping[label] for label in labels if label in boxes.mapping)
    return class_statistics(len(known), classes, boxes.classes, "boxes of the class")


def box_target(target: AnyTarget) -> BoxTarget:
    """Return the target, which must be one of boxes.

    Raises:
        AssayError: It is of another kind.
    """
    if not isinstance(target, BoxTarget):
        raise AssayError(f"Targets of kind {target.kind} are no boxes.")
    return target
