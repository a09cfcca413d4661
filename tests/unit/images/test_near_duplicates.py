"""Signatures of images, and pairs of images that look almost the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assay.images.near_duplicates import THUMBNAIL_PX, signature_of, similar_pairs, unit_thumbnails

SIDES = st.integers(1, 200)


def noise(size, mode="RGB", seed=0):
    width, height = size
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def grey_of(signature):
    return np.frombuffer(signature.thumbnail, np.uint8).reshape(THUMBNAIL_PX, THUMBNAIL_PX)


@settings(max_examples=30, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["L", "RGB"]))
def test_the_signature_has_the_same_size_whatever_the_image(width, height, mode):
    image = noise((width, height), mode)
    signature = signature_of(image)
    assert grey_of(signature).shape == (16, 16)
    assert len(signature.pixels) == 64
    assert signature == signature_of(image.copy())
    low, high = image.convert("L").getextrema()
    assert low <= grey_of(signature).min() <= grey_of(signature).max() <= high


def test_a_thumbnail_holds_means_in_the_order_of_the_image():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for side in (16, 32, 16 * 40):
        image = Image.fromarray(levels.repeat(side // 16, axis=0).repeat(side // 16, axis=1))
        assert np.array_equal(grey_of(signature_of(image)), levels)


def test_a_single_pixel_fills_its_thumbnail():
    assert signature_of(Image.new("L", (1, 1), 7)).thumbnail == bytes([7] * 256)


def test_a_fast_thumbnail_is_that_of_all_pixels():
    image = noise((40, 30)).resize((1000, 700), Image.Resampling.BICUBIC)
    exact = np.asarray(image.convert("L").resize((16, 16), Image.Resampling.BOX)).astype(int)
    assert np.abs(grey_of(signature_of(image)) - exact).max() <= 8


@pytest.mark.parametrize(
    "other",
    [
        Image.new("L", (6, 4), 7),
        Image.new("L", (4, 6), 8),
        Image.new("RGB", (4, 6), (7, 7, 7)),
        Image.new("L", (4, 7), 7),
    ],
    ids=["turned", "brighter", "in colour", "higher"],
)
def test_pixels_differ_with_mode_size_or_any_level(other):
    assert signature_of(Image.new("L", (4, 6), 7)).pixels != signature_of(other).pixels


def test_a_copy_of_another_size_is_similar():
    image = noise((12, 12), seed=1).resize((256, 256), Image.Resampling.BICUBIC)
    copies = [image, image.resize((128, 128), Image.Resampling.LANCZOS), image.resize((331, 331))]
    thumbnails = unit_thumbnails([signature_of(copy).thumbnail for copy in copies])
    assert len(list(similar_pairs(thumbnails, np.array(["a", "b", "c"])))) == 3


def test_thumbnails_become_vectors_of_mean_0_and_length_1():
    unit = unit_thumbnails([signature_of(noise((50, 40), seed=seed)).thumbnail for seed in range(3)])
    assert unit.shape == (3, 256)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-6)


def test_images_without_contrast_are_not_similar_to_any_other():
    flat = [Image.new("L", (20, 20), 255), Image.new("L", (20, 20), 255)]
    unit = unit_thumbnails([signature_of(image).thumbnail for image in flat])
    assert not unit.any()
    assert not list(similar_pairs(unit, np.array(["train", "test"])))


def test_without_images_there_are_no_pairs():
    unit = unit_thumbnails([])
    assert unit.shape == (0, 256)
    assert not list(similar_pairs(unit, np.array([], dtype=np.str_)))


def test_every_pair_across_subsets_is_compared_whatever_the_block_size():
    thumbnails = np.random.default_rng(0).integers(0, 256, (50, 256), dtype=np.uint8)
    thumbnails[[7, 41]] = thumbnails[3]
    subsets = np.array(["train"] * 20 + ["test"] * 30)
    unit = unit_thumbnails([thumbnail.tobytes() for thumbnail in thumbnails])
    pairs = {(one, two) for one, two, _ in similar_pairs(unit, subsets, block_rows=8)}
    assert {frozenset(pair) for pair in pairs} == {frozenset((3, 41)), frozenset((7, 41))}
