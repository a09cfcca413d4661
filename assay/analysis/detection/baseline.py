"""What a detector predicts that never looks at an image.

Belongs here: boxes from the training objects alone. Does not belong here: metrics.
"""

import numpy as np
import polars as pl

from assay.metrics.boxes import Boxes


def mean_boxes(trained: pl.DataFrame, scenes: pl.DataFrame, classes: tuple[str, ...]) -> Boxes:
    """Return one box per class and image: the mean of the class's training boxes, as sure as the class is frequent.

    Args:
        trained: Columns class, and x and y of the middle, width and height as shares of the image.
        scenes: The images, columns width_px and height_px.
        classes: In the model's order; those without training boxes are never predicted.
    """
    means = trained.group_by("class").agg(pl.mean("x", "y", "width", "height"), share=pl.len() / len(trained))
    present = [name for name in classes if name in set(means["class"])]
    means = pl.DataFrame({"class": present}).join(means, on="class", maintain_order="left")
    sizes = scenes.select("width_px", "height_px").to_numpy().astype(np.float64)
    middle, size = means.select("x", "y").to_numpy(), means.select("width", "height").to_numpy()
    place = np.concatenate([middle - size / 2, np.broadcast_to(size, middle.shape)], axis=1)
    boxes = place[None] * np.tile(sizes, 2)[:, None]  # (n, k, 4)
    count = len(scenes) * len(present)
    return Boxes(
        np.repeat(np.arange(len(scenes)), len(present)),
        np.tile([classes.index(name) for name in present], len(scenes)),
        boxes.reshape(-1, 4),
        np.tile(means["share"].to_numpy(), len(scenes)),
        np.zeros(count, bool),
    )
