"""Sheets of training samples: shades, labels, boxes and masks where they belong."""

import numpy as np
import pytest
from PIL import Image

from assay.plots.sheets import MAX_SHEET_BYTES, class_color
from assay.plots.training import REACH, as_images, save_samples, with_boxes, with_masks, with_targets

NAMES = ("cat", "dog")


def flat(value, side=32, count=1):
    return np.full((count, 3, side, side), value, np.float32)


def colours_of(image):
    return {colour for _, colour in image.getcolors(1 << 24)}


@pytest.mark.parametrize(
    ("value", "standardized", "shade"),
    [(0, True, 128), (REACH, True, 255), (-REACH, True, 0), (9, True, 255), (1, False, 255), (0.2, False, 51)],
)
@pytest.mark.system
def test_numbers_become_shades_in_the_same_way_for_all_samples(value, standardized, shade):
    assert colours_of(as_images(flat(value), standardized)[0]) == {(shade,) * 3}


def test_one_channel_is_grey_and_channels_keep_their_order():
    assert as_images(flat(1)[:, :1], False)[0].getpixel((0, 0)) == (255, 255, 255)
    red = np.stack([flat(1)[0, 0], flat(0)[0, 0], flat(0)[0, 0]])[None]
    assert as_images(red, False)[0].getpixel((5, 5)) == (255, 0, 0)


def test_targets_stand_below_their_samples():
    labelled = with_targets(as_images(flat(0, count=4), True), ["cat", ["cat", "dog"], [], 12.34567])
    assert labelled.captions == ["cat", "cat, dog", "nothing", "12.35"]
    assert [tile.size for tile in labelled.tiles] == [(96, 96)] * 4


def test_masks_are_beside_their_samples_in_the_colours_of_the_legend():
    mask = np.zeros((32, 32), np.uint8)
    mask[:8, :16], mask[24:] = 2, 255
    labelled = with_masks(as_images(flat(0, count=2), True), [mask, np.zeros_like(mask)], NAMES)
    assert labelled.captions == ["dog", "nothing"]
    assert labelled.legend == [("dog", class_color(1)), ("unknown", (255, 255, 255))]
    both = labelled.tiles[0]
    side = both.height
    right = both.crop((both.width - side, 0, both.width, side))
    assert right.getpixel((10, 10)) == class_color(1)
    assert right.getpixel((side - 2, side - 2)) == (255, 255, 255)
    assert colours_of(both.crop((0, 0, side, side))) == {(128, 128, 128)}


def test_boxes_are_drawn_where_they_are_and_crowds_are_no_object():
    boxes = [[(1, 4, 8, 20, 24), (-2, 0, 28, 32, 32)], []]
    labelled = with_boxes(as_images(flat(0, count=2), True), boxes, NAMES)
    assert labelled.captions == ["dog", "nothing"]
    tile = labelled.tiles[0]
    scale = tile.width / 32
    frame = np.argwhere((np.asarray(tile) == class_color(1)).all(axis=2))
    assert frame[:, 1].min() == pytest.approx(4 * scale, abs=2)
    assert frame[:, 0].max() == pytest.approx(24 * scale, abs=2)
    assert colours_of(labelled.tiles[1]) == {(128, 128, 128)}


@pytest.mark.parametrize(("count", "side"), [(1, 24), (16, 24), (7, 400), (64, 24)])
def test_a_sheet_is_small_and_explains_its_shades(count, side, tmp_path):
    noise = np.random.default_rng(0).normal(0, 1, (count, 3, side, side)).astype(np.float32)
    path = tmp_path / "epoch_0001.png"
    save_samples(with_targets(as_images(noise, True), ["cat"] * count), True, path)
    assert path.stat().st_size <= MAX_SHEET_BYTES
    with Image.open(path) as image:
        assert image.width > 300
