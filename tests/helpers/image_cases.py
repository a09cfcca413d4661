"""Small images with known objects, in result folders as training and analysis read them."""

import polars as pl
from PIL import Image, ImageDraw

from assay.analysis.base import AnalysisInputs
from assay.training.annotations import Annotations
from assay.training.data import DataSource, read_subsets
from assay.training.image_targets import BoxTarget, MaskTarget
from assay.training.summary import training_summary

CLASSES = ("cat", "dog")
SIDE = 64
COLOURS = {"cat": (220, 60, 60), "dog": (60, 90, 220), "puppy": (60, 90, 220)}
LABELS = {"cat": "cat", "dog": "dog", "puppy": "dog"}
VALUES = {"cat": 10, "dog": 20, "puppy": 30}

TRAIN = [("cat", 4, 4, 20, 20), ("cat", 30, 30, 20, 20), ("puppy", 40, 4, 12, 12)]
TEST = {
    "a": [("cat", 4, 4, 20, 20), ("dog", 40, 40, 20, 20)],
    "b": [("dog", 10, 30, 24, 24)],
    "empty": [],
}


def write_splits(folder, images=TEST):
    """Write ``splits``: one training image, then test images of objects (label, left, top, width, height)."""
    folder.mkdir(parents=True)
    items, objects = [], []
    for item, content in {"t": TRAIN, **images}.items():
        subset = "train" if item == "t" else "test"
        picture, mask = Image.new("RGB", (SIDE, SIDE), (150, 150, 140)), Image.new("L", (SIDE, SIDE), 0)
        for number, (label, left, top, width, height) in enumerate(content):
            box = (left, top, left + width - 1, top + height - 1)
            ImageDraw.Draw(picture).rectangle(box, COLOURS.get(label, (0, 0, 0)))
            ImageDraw.Draw(mask).rectangle(box, VALUES.get(label, 0))
            objects.append((item, subset, number, label, left, top, width, height, False))
        picture.save(folder / f"{item}.png")
        mask.save(folder / f"{item}_mask.png")
        items.append((item, subset, f"{item}.png", f"{item}_mask.png", True, SIDE, SIDE))
    pl.DataFrame(items, IMAGE_COLUMNS, orient="row").write_parquet(folder / "items.parquet")
    pl.DataFrame(objects, OBJECT_COLUMNS, orient="row").write_parquet(folder / "objects.parquet")
    meanings = [(0, None, "background"), *((value, label, "class") for label, value in VALUES.items())]
    schema = {"value": pl.Int32, "label": pl.String, "role": pl.String}
    pl.DataFrame(meanings, schema, orient="row").write_parquet(folder / "mask_classes.parquet")


IMAGE_COLUMNS = {
    "item": pl.String,
    "subset": pl.String,
    "file": pl.String,
    "mask": pl.String,
    "labelled": pl.Boolean,
    "width_px": pl.Int32,
    "height_px": pl.Int32,
}
OBJECT_COLUMNS = {
    "item": pl.String,
    "subset": pl.String,
    "object": pl.Int32,
    "label": pl.String,
    **dict.fromkeys(("x_px", "y_px", "width_px", "height_px"), pl.Int32),
    "crowd": pl.Boolean,
}


def write_image_inputs(folder, predictions, task, images=TEST, unlabelled=()):
    """Write splits and predictions; return the inputs of the analysis."""
    write_splits(folder / "splits", images)
    items = pl.read_parquet(folder / "splits" / "items.parquet").filter(pl.col("subset") == "test")
    known = ~pl.col("item").is_in(list(unlabelled))
    items.with_columns(labelled=known).write_parquet(folder / "predicted_items.parquet")
    predictions.write_parquet(folder / "predictions.parquet")
    target = {"segmentation": MaskTarget, "detection": BoxTarget}[task](classes=CLASSES, mapping=LABELS)
    source = DataSource("splits", folder / "splits", "ssss")
    train = read_subsets(source, ["train"], "label")["train"]
    return AnalysisInputs(
        folder / "predictions.parquet",
        training_summary(Annotations(source), target, train),
        task=task,
        classes=CLASSES,
        splits_folder=folder / "splits",
        label_classes=LABELS,
    )
