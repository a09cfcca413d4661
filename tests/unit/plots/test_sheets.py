import io

import numpy as np
from PIL import Image

from assay.plots.overlays import Mark, draw_marks, mask_panels, shown_part
from assay.plots.sheets import MAX_SHEET_BYTES, fit_into, rgb, save_sheet, sheet, with_tones

RED, GREEN = (255, 0, 0), (0, 200, 0)


def noise(side, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def places_of(image, colour):
    """Return which pixels have a colour."""
    return (np.asarray(image) == colour).all(axis=2)


def test_a_sheet_of_noise_loses_tones_of_the_photographs_until_it_is_small(tmp_path):
    tiles = [noise(150, seed) for seed in range(4)]

    def make(tones):
        return sheet([with_tones(tile, tones) for tile in tiles], ["noise"] * 4, 2, [("red", RED)])

    save_sheet(make, tmp_path / "sheet.png")
    content = (tmp_path / "sheet.png").read_bytes()
    assert len(content) <= MAX_SHEET_BYTES
    shown = Image.open(io.BytesIO(content)).convert("RGB")
    assert shown.size == make(48).size
    assert places_of(shown, RED).sum() > 100


def test_a_legend_that_is_too_long_goes_on_in_the_next_line():
    tile = Image.new("RGB", (200, 50))
    short, long = (sheet([tile], [""], 1, [(f"class {index}", RED) for index in range(count)]) for count in (2, 12))
    assert long.width == short.width
    assert long.height > short.height + 40


def test_few_tones_keep_the_colour_of_a_small_object():
    image = Image.new("RGB", (100, 100), (90, 90, 90))
    image.paste(Image.fromarray(np.random.default_rng(0).integers(60, 120, (100, 80, 3), np.uint8)), (0, 0))
    image.paste((250, 200, 0), (90, 90, 94, 94))
    red, green, blue = with_tones(image, 8).getpixel((92, 92))
    assert red > 200
    assert green > 150
    assert blue < 60


def test_images_are_enlarged_in_whole_pixels_and_reduced_to_their_size():
    assert fit_into(Image.new("RGB", (30, 20)), 60).size == (60, 40)
    assert fit_into(Image.new("RGB", (300, 200)), 60).size == (60, 40)
    assert rgb("#FF8000") == (255, 128, 0)


def test_tags_of_boxes_at_one_place_do_not_cover_each_other():
    marks = [Mark((20, 20, 20, 20), "cat 0.9", RED), Mark((20, 20, 20, 20), "dog 0.8", GREEN)]
    drawn = draw_marks(Image.new("RGB", (94, 94), (9, 9, 9)), marks, 8)
    red, green = (np.flatnonzero(places_of(drawn, colour).any(axis=1)) for colour in (RED, GREEN))
    assert red.max() < 80  # the tag above; its frame is below the other
    assert green.max() > 160 + 10  # the other tag is below both frames


def test_a_tag_stays_inside_the_image():
    drawn = draw_marks(Image.new("RGB", (94, 94)), [Mark((90, 0, 4, 4), "a long name 0.99", GREEN)], 8)
    assert places_of(drawn, GREEN)[:, :-120].sum() == 0
    assert places_of(drawn, GREEN).sum() > 1000


def test_masks_are_shown_around_their_objects():
    ground_truth = np.zeros((100, 200), np.uint8)
    ground_truth[40:50, 150:160] = 1
    left, top, right, bottom = shown_part(ground_truth, np.zeros_like(ground_truth))
    assert left <= 120 < 160 <= right
    assert (bottom - top, right - left) == (70, 70)
    assert shown_part(np.zeros_like(ground_truth), np.zeros_like(ground_truth)) == (0, 0, 200, 100)


def test_three_panels_show_image_ground_truth_and_prediction_with_the_true_outline():
    ground_truth = np.zeros((64, 64), np.uint8)
    ground_truth[20:40, 20:40] = 1
    panels = np.asarray(
        mask_panels(Image.new("RGB", (64, 64), (80, 80, 80)), ground_truth, np.zeros_like(ground_truth), 8)
    )
    side = panels.shape[0]
    middle = [panels[side // 2, place * (side + 4) + side // 2].tolist() for place in range(3)]
    assert middle[0] == [80, 80, 80]
    assert middle[1][0] > 200
    assert middle[2] == [24, 24, 24]
    assert (panels[:, 2 * (side + 4) :] == 255).all(axis=2).sum() > 100
