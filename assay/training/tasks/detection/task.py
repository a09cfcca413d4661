"""Detection: boxes around objects, and their classes.

Belongs here: putting the parts together. Does not belong here: any of them (``assay.training.tasks.detection``).
"""

from collections.abc import Iterator, Mapping

import polars as pl
import torch

from assay.errors import AssayError, DataError
from assay.training.data import DataSource
from assay.training.device import near_all
from assay.training.engine import forward
from assay.training.image_targets import BoxTarget, objects_of, read_boxes, scene_classes
from assay.training.inputs import Inputs
from assay.training.interfaces import TrainingTask
from assay.training.model_card import AnyTarget
from assay.training.tasks.base import PredictionRequest, TrainingRequest
from assay.training.tasks.dense import balanced, describe_scenes, has_truth, labelled, scenes_to_predict
from assay.training.tasks.detection.box_coding import Found, found_objects
from assay.training.tasks.detection.criterion import DetectionMeter, detection_loss
from assay.training.tasks.detection.dataset import DetectionItems
from assay.training.tasks.images import Scene, as_scene_batch, read_scenes
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
    objects = objects_of(request.source, train).filter(~pl.col("crowd").fill_null(False))
    found = sorted(objects["label"].drop_nulls().unique(), key=natural_sort_key)
    classes, mapping = scene_classes(request.section.data_description, found)
    known = objects.filter(pl.col("label").is_in(list(mapping)))
    sides = known.select(pl.max_horizontal("width_px", "height_px")).to_series()
    return describe_scenes(request, train, sides.to_list()), BoxTarget(classes=classes, mapping=mapping)


def prepare(
    request: TrainingRequest, inputs: Inputs, target: AnyTarget, subsets: Mapping[str, pl.DataFrame]
) -> TrainingTask:
    """Return images and boxes, loss and meter."""
    section, boxes_target = request.section, box_target(target)
    items = {name: _items(request, inputs, boxes_target, labelled(rows, name)) for name, rows in subsets.items()}
    if not any(len(boxes) for boxes in items[section.data_train.subset].boxes):
        raise DataError(f"The subset {section.data_train.subset!r} has no box of a class that is looked for.")
    train, item_classes = balanced(items[section.data_train.subset], request, len(boxes_target.classes))
    return TrainingTask(
        section=section,
        train=train,
        validation=items[section.data_validation.subset] if section.data_validation else None,
        loss=detection_loss,
        plain_loss=detection_loss,
        meter=lambda: DetectionMeter(len(boxes_target.classes)),
        seed=request.seed,
        classes=item_classes,
    )


def _items(request: TrainingRequest, inputs: Inputs, target: BoxTarget, rows: pl.DataFrame) -> DetectionItems:
    section, params, size = request.section, request.section.train_params, inputs.image_size
    scenes = read_scenes(request.source, rows, size, params.threads)
    return DetectionItems(
        images=near_all([scene.pixels for scene in scenes], params.device),
        boxes=read_boxes(request.source, rows, target, size),
        window_size=section.data_description.window_size or 0,
        standardize=inputs.standardize,
        augmentation=section.data_train.augmentation,
    )


def predict(request: PredictionRequest, subset: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per box that was found, the surest of each image first."""
    target = box_target(request.card.target)
    parts = [
        _rows(item, subset, found, scene, target)
        for item, (scene, found) in zip(rows["item"], _found(request, rows), strict=True)
    ]
    return pl.concat([SCHEMA.to_frame(), *parts])


@torch.no_grad()
def _found(request: PredictionRequest, rows: pl.DataFrame) -> Iterator[tuple[Scene, Found]]:
    handler, card = request.section.prediction_handler, request.card
    for scene in scenes_to_predict(request, rows):
        batch = as_scene_batch([scene.pixels], card.inputs.standardize)
        outputs = forward(request.model.network, batch, card.section.train_params.precision == "bf16")
        height, width = scene.pixels.shape[1:]
        sizes = torch.tensor([[width, height]])
        (found,) = found_objects(outputs, sizes, handler.min_confidence, handler.max_boxes, handler.most_overlap)
        yield scene, found


def _rows(item: str, subset: str, found: Found, scene: Scene, target: BoxTarget) -> pl.DataFrame:
    across, down = scene.scale
    left, top, right, bottom = (found.boxes / torch.tensor([across, down, across, down])).unbind(1)
    return pl.DataFrame(
        {
            "item": [item] * len(found.scores),
            "subset": [subset] * len(found.scores),
            "predicted_class": [target.classes[index] for index in found.classes.tolist()],
            "confidence": found.scores.numpy(),
            "x_px": left.numpy(),
            "y_px": top.numpy(),
            "width_px": (right - left).numpy(),
            "height_px": (bottom - top).numpy(),
        },
        schema=SCHEMA,
    )


def truth_statistics(source: DataSource, target: AnyTarget, rows: pl.DataFrame) -> Statistics:
    """Return the boxes of each class; crowds are not counted."""
    known, boxes = rows.filter(has_truth()), box_target(target)
    labels = objects_of(source, known).filter(~pl.col("crowd").fill_null(False))["label"].drop_nulls()
    found = (boxes.mapping[label] for label in labels if label in boxes.mapping)
    return class_statistics(len(known), found, boxes.classes, "boxes of the class")


def box_target(target: AnyTarget) -> BoxTarget:
    """Return a target of boxes, as only such are trained here."""
    if not isinstance(target, BoxTarget):
        raise AssayError(f"Targets of kind {target.kind} are no boxes.")
    return target
