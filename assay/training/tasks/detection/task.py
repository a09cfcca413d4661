"""Detection: boxes around objects, and their classes; the functions of ``Task``, and the table of predicted boxes."""

from collections.abc import Iterator, Mapping

import polars as pl
import torch

from assay.errors import AssayError, DataError
from assay.training.annotations import Annotations, boxes_of_rows, objects_of
from assay.training.device import all_to_device
from assay.training.engine import forward
from assay.training.image_targets import BoxTarget, fit_image_classes
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.model_card import AnyTarget
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.dense import balance_subset, describe_images, has_ground_truth, images_to_predict, labelled
from assay.training.tasks.detection.box_coding import Detections, decode_detections
from assay.training.tasks.detection.criterion import DetectionRunningMetric, detection_loss
from assay.training.tasks.detection.dataset import DetectionDataset
from assay.training.tasks.images import ResizedImage, image_batch, read_images
from assay.training.tasks.statistics import Statistics, class_statistics
from assay.utils.text import natural_sort_key

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
    return describe_images(request, train, sides.to_list()), BoxTarget(classes=classes, mapping=mapping)


def prepare(
    request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> TrainingTask:
    """Return datasets with images and boxes, losses and running metric."""
    section, boxes_target = request.section, box_target(target)
    datasets = {name: _dataset(request, inputs, boxes_target, labelled(rows, name)) for name, rows in subsets.items()}
    if not any(len(boxes) for boxes in datasets[section.data_train.subset].targets):
        raise DataError(f"The subset {section.data_train.subset!r} has no box of a class that is looked for.")
    train, item_classes = balance_subset(datasets[section.data_train.subset], request, len(boxes_target.classes))
    return TrainingTask(
        section=section,
        train=train,
        validation=datasets[section.data_validation.subset] if section.data_validation else None,
        loss=detection_loss,
        plain_loss=detection_loss,
        running_metric=lambda: DetectionRunningMetric(len(boxes_target.classes)),
        seed=request.seed,
        classes=item_classes,
    )


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
        _rows(item, subset, detections, image, target)
        for item, (image, detections) in zip(rows["item"], _detections(request, rows), strict=True)
    ]
    return pl.concat([SCHEMA.to_frame(), *parts])


@torch.no_grad()
def _detections(request: PredictionRequest, rows: pl.DataFrame) -> Iterator[tuple[ResizedImage, Detections]]:
    handler, card = request.section.prediction_handler, request.card
    for image in images_to_predict(request, rows):
        batch = image_batch([image.pixels], card.inputs.standardize)
        outputs = forward(request.model.network, batch, card.section.train_params.precision == "bf16")
        height, width = image.pixels.shape[1:]
        sizes = torch.tensor([[width, height]])
        (detections,) = decode_detections(
            outputs, sizes, handler.min_confidence, handler.max_boxes, handler.most_overlap
        )
        yield image, detections


def _rows(item: str, subset: str, detections: Detections, image: ResizedImage, target: BoxTarget) -> pl.DataFrame:
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
