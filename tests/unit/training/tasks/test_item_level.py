"""What is told before items of one prediction each are trained on."""

import polars as pl
import pytest

from assay.training.inputs import Inputs
from assay.training.tasks.item_level import much_reduced

CROPS = Inputs(view="crops", image_size=24)


def rows(*sides):
    return pl.DataFrame({"width_px": sides, "height_px": [20] * len(sides)})


@pytest.mark.parametrize(
    ("inputs", "chosen", "table"),
    [
        (CROPS, None, rows(40, 95, 4000)),
        (CROPS, 24, rows(640, 640, 640)),
        (Inputs(view="crops", image_size=224), None, rows(4000, 4000)),
        (CROPS, None, rows()),
        (Inputs(view="columns", columns=("width_px", "height_px")), None, rows(640, 640)),
        (CROPS, None, pl.DataFrame({"item": ["a"]})),
    ],
)
def test_pictures_that_lose_little_or_whose_size_was_chosen_are_no_warning(inputs, chosen, table):
    assert much_reduced(inputs, chosen, table) == ()


def test_pictures_that_are_reduced_by_much_are_told_with_the_key_that_keeps_more():
    (warning,) = much_reduced(CROPS, None, rows(100, 640, 700))
    assert warning.startswith("pictures of 640 px (the longer side, median) are reduced to 24 px")
    assert "trained_model.data_description.image_size: 48" in warning
