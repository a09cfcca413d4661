"""Real example data that need no download: scikit-learn's handwritten digits as class folders.

Belongs here: writing example data as a user would have them. Does not belong here: generated data.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from assay.images.png import encode_png
from assay.storage.files import temporary_sibling

_BRIGHTEST = 16
"""Largest grey level of the data set."""


def write_handwritten_digits(folder: Path) -> int:
    """Write 1,797 grey images of 8x8 pixels as ``folder/<digit>/<number>.png`` and return how many.

    The folder appears complete or not at all. Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits,
    UCI Machine Learning Repository, 1998; its test part, as scikit-learn ships it.

    Raises:
        FileExistsError: The folder exists and is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} exists and is not empty; choose another folder or remove it.")
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = (data.images * 255 / _BRIGHTEST).round().astype(np.uint8)
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = temporary_sibling(folder)
    for digit in sorted(set(data.target.tolist())):
        (draft / str(digit)).mkdir(parents=True)
    for index, (pixels, digit) in enumerate(zip(levels, data.target.tolist(), strict=True)):
        (draft / str(digit) / f"{index:04d}.png").write_bytes(encode_png(Image.fromarray(pixels)))
    draft.rename(folder)
    return len(levels)
