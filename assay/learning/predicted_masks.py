"""Predicted masks as files that any viewer shows: indices with a palette, background black.

Belongs here: the file. Does not belong here: what is in it.
"""

from pathlib import Path

from PIL import Image
from torch import Tensor

from assay.plots.sheets import class_color


def save_mask(path: Path, classes: Tensor, class_count: int) -> None:
    """Write a palette PNG; equal masks give equal bytes. The result store forces the whole folder to the disk.

    Args:
        path: Its folder is made.
        classes: uint8 (height, width): 0 background, 1 to ``class_count``.
        class_count: Classes with a colour of their own.
    """
    image = Image.fromarray(classes.numpy())
    colours = [(0, 0, 0), *(class_color(index) for index in range(class_count))]
    image.putpalette([level for colour in colours for level in colour])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG")
