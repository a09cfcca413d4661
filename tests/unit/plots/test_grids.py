import numpy as np
import pytest
from PIL import Image

from assay.errors import DataError
from assay.plots.sheets import class_color, draw_boxes, sample_grid, save_small_png


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8))


def test_a_grid_has_a_cell_per_image_and_a_last_row_that_may_be_short():
    colors = ["red", "green", "blue", "black"]
    grid = sample_grid([Image.new("RGB", (40, 30), color) for color in colors], colors, columns=3)
    found = {color for _, color in grid.getcolors(100_000)}
    assert {(255, 0, 0), (0, 128, 0), (0, 0, 255), (0, 0, 0)} <= found
    assert grid.width >= 3 * 40
    assert grid.height >= 2 * 30


def test_images_keep_their_pixels_in_a_grid():
    image = noise(20, 10)
    grid = sample_grid([image], ["one"], columns=3)
    assert image.tobytes() in {grid.crop((x, y, x + 20, y + 10)).tobytes() for x in range(12) for y in range(12)}


def test_a_grid_of_mixed_sizes_and_modes_with_long_captions_works():
    images = [Image.new("L", (10, 50)), Image.new("RGBA", (60, 10)), Image.new("RGB", (1, 1))]
    assert sample_grid(images, ["a very long caption " * 9, "", "ü"], columns=2).mode == "RGB"


def test_a_grid_without_images_says_so():
    with pytest.raises(DataError, match="at least one image"):
        sample_grid([], [], columns=3)


def test_a_frame_lies_just_outside_the_box_and_the_original_stays_as_it_is():
    image = Image.new("RGB", (60, 60), "white")
    framed = draw_boxes(image, [(20, 30, 10, 8)], ["7"])
    assert image.getcolors() == [(3600, (255, 255, 255))]
    assert framed.crop((20, 30, 30, 38)).getcolors() == [(80, (255, 255, 255))]
    assert {framed.getpixel(p) for p in [(19, 35), (30, 35), (25, 38)]} == {(0, 229, 255)}


def test_a_box_at_the_border_is_drawn_without_error():
    assert draw_boxes(Image.new("L", (8, 8)), [(0, 0, 8, 8)], ["123"]).size == (8, 8)


@pytest.mark.parametrize("max_bytes", [100_000, 20_000, 2_000])
def test_a_small_png_is_never_larger_than_allowed(tmp_path, max_bytes):
    path = tmp_path / "pictures" / "noise.png"
    save_small_png(noise(300, 300), path, max_bytes)
    assert path.stat().st_size <= max_bytes
    with Image.open(path) as image:
        image.load()


def test_a_picture_that_fits_keeps_all_its_colours(tmp_path):
    image = noise(40, 40)
    save_small_png(image, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.convert("RGB").tobytes() == image.tobytes()


def test_a_limit_that_no_picture_meets_is_an_error(tmp_path):
    with pytest.raises(DataError, match="raise max_bytes"):
        save_small_png(noise(40, 40), tmp_path / "a.png", max_bytes=10)


def test_ten_classes_have_ten_clearly_different_colours():
    colors = np.array([class_color(index) for index in range(10)], int)
    distances = np.abs(colors[:, None] - colors[None]).sum(-1) + 999 * np.eye(10, dtype=int)
    assert distances.min() > 60
