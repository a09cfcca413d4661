"""What networks of others see: the size and the numbers that their pre-processing makes of a picture."""

from typing import Any

import numpy as np
import pytest

from assay.training.models.pretrained import IMAGENET_MEAN, IMAGENET_STD, wanted_pictures

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.4]


def as_processed(levels: np.ndarray, keys: dict[str, Any]) -> np.ndarray:
    """Return what a preprocessor makes of levels (n, 3) from 0 to 255, step by step."""
    values = levels.astype(np.float64)
    if keys.get("do_flip_channel_order"):
        values = values[:, ::-1]
    if keys.get("do_rescale", True):
        values = values * keys.get("rescale_factor", 1 / 255) - bool(keys.get("rescale_offset"))
    if keys.get("do_normalize", not keys.get("do_flip_channel_order")):
        values = (values - keys.get("image_mean", IMAGENET_MEAN)) / keys.get("image_std", IMAGENET_STD)
    return values / keys["image_std"] if keys.get("include_top") else values


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"image_mean": MEAN, "image_std": STD},
        {"image_mean": MEAN, "image_std": STD, "do_normalize": False},
        {"image_mean": MEAN, "image_std": STD, "do_rescale": False},
        {"do_normalize": False, "rescale_factor": 1 / 127.5, "rescale_offset": True},
        {"image_mean": MEAN, "image_std": STD, "rescale_factor": 1 / 127.5},
        {"image_mean": MEAN, "image_std": STD, "include_top": True},
        {"do_flip_channel_order": True},
        {"do_flip_channel_order": True, "do_normalize": True, "image_mean": MEAN, "image_std": STD},
    ],
)
def test_one_normalization_does_what_all_steps_do(keys):
    levels = np.array([[0, 0, 0], [255, 255, 255], [10, 100, 200]])
    _, mean, std, is_bgr = wanted_pictures(keys, {})
    ordered = levels[:, ::-1] if is_bgr else levels
    assert np.allclose((ordered / 255 - mean) / std, as_processed(levels, keys))


@pytest.mark.parametrize("factor", [1 / 255, 0.00392156862745098, 0.003921568859368563])
def test_usual_steps_leave_mean_and_standard_deviation_as_they_are_written(factor):
    keys = {"image_mean": MEAN, "image_std": STD, "do_rescale": True, "rescale_factor": factor, "rescale_offset": False}
    assert wanted_pictures(keys, {})[1:3] == (tuple(MEAN), tuple(STD))


@pytest.mark.parametrize(
    ("keys", "size"),
    [
        ({"size": 192}, 192),
        ({"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}, 224),
        ({"size": {"shortest_edge": 256}, "crop_size": 224}, 256),
        ({}, 64),
    ],
)
def test_the_size_is_that_of_the_last_step(keys, size):
    assert wanted_pictures(keys, {"image_size": [64, 48]}).size == size


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"image_std": [0.2, 0.0, 0.2]}, r"image_std is \[0.2, 0.0, 0.2\]; expected three numbers above 0"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "image_mean is .*; expected three numbers, of red, green and blue"),
        ({"image_mean": [0.5, 0.5]}, "image_mean is .*; expected three numbers"),
        ({"size": 10**9}, "the size of its pictures is 1000000000; expected 1 to 8192 pixels"),
        ({"size": {"longest_edge": 9}}, "expected 1 to 8192 pixels"),
        ({"size": float("inf")}, "infinity"),
    ],
)
def test_what_has_no_meaning_is_refused(keys, message):
    with pytest.raises((ValueError, OverflowError), match=message):
        wanted_pictures(keys, {})
