"""Which crops there are: one per labelled box, one per image that has a class of its own.

Belongs here: the list of crops, and boxes that can't be right. Does not belong here: cutting.
"""

import polars as pl

from assay.errors import DataError

CROP_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "item": pl.String,
    "image": pl.String,
    "subset": pl.String,
    "label": pl.String,
    "number": pl.Float64,
    "x_px": pl.Int32,
    "y_px": pl.Int32,
    "width_px": pl.Int32,
    "height_px": pl.Int32,
    "file": pl.String,
    "sha256": pl.String,
}
"""One row per crop. The box is the object's in its image; ``number`` is the label as a number, null unless every
label is one; ``file`` is relative to the crops' folder."""


def list_crops(items: pl.DataFrame, objects: pl.DataFrame, delimiter: str) -> pl.DataFrame:
    """Return columns item, image, subset, label and box, sorted by image and object; of crowds nothing is cut out.

    Raises:
        DataError: Boxes that have no label, are empty or leave their image: all of them.
    """
    placed = (
        objects.filter(~pl.col("crowd").fill_null(False))
        .join(items.select("item", image_width_px="width_px", image_height_px="height_px"), on="item")
        .sort("item", "object")
    )
    _require_inside(placed)
    boxes = placed.select(
        item=pl.format("{}{}{}", pl.col("item"), pl.lit(delimiter), pl.col("object")),
        image="item",
        subset="subset",
        label="label",
        x_px="x_px",
        y_px="y_px",
        width_px="width_px",
        height_px="height_px",
    )
    zero = pl.lit(0, pl.Int32)
    whole = items.filter(pl.col("label").is_not_null()).select(
        "item", "subset", "label", "width_px", "height_px", image="item", x_px=zero, y_px=zero
    )
    crops = pl.concat([boxes, whole.select(boxes.columns)])
    return crops.with_columns(number=numeric_labels(crops["label"])).sort("image", maintain_order=True)


def _require_inside(placed: pl.DataFrame) -> None:
    right, bottom = pl.col("x_px") + pl.col("width_px"), pl.col("y_px") + pl.col("height_px")
    outside = (
        (pl.col("x_px") < 0)
        | (pl.col("y_px") < 0)
        | (right > pl.col("image_width_px"))
        | (bottom > pl.col("image_height_px"))
    )
    empty = (pl.col("width_px") < 1) | (pl.col("height_px") < 1)
    wrong = placed.filter(outside | empty | pl.col("label").is_null())
    if len(wrong):
        raise DataError(
            f"{len(wrong)} labels can't be used; nothing was computed.",
            [_sentence(row) for row in wrong.iter_rows(named=True)],
        )


def _sentence(row: dict[str, object]) -> str:
    what = f"{row['item']}, object {row['object']} (label {row['label']!r})"
    box = f"x {row['x_px']}, y {row['y_px']}, {row['width_px']}x{row['height_px']} px"
    if row["label"] is None:
        return f"{what}: has no label"
    return f"{what}: its box ({box}) is not inside the image of {row['image_width_px']}x{row['image_height_px']} px"


def numeric_labels(labels: pl.Series) -> pl.Series:
    """Return the labels as numbers when every one is a finite number, else null."""
    numbers = labels.cast(pl.Float64, strict=False)
    if numbers.null_count() == 0 and numbers.is_finite().all():
        return numbers
    return pl.Series([None] * len(labels), dtype=pl.Float64)
