"""The user's COCO files: what is read, what is corrected, and what is refused with its entry."""

import json

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from assay.datasets.coco import find_coco_paths
from assay.datasets.index import build_coco
from assay.datasets.schema import IMAGE_ITEM_COLUMNS, MASK_CLASS_COLUMNS, OBJECT_COLUMNS, mask_root_of
from assay.errors import DataError
from assay.images.decoding import read_mask
from assay.spec.generated_images import CocoSource
from tests.helpers.annotated_data import Index, coco_content, save_images, write_coco

CATEGORIES = [{"id": 90, "name": "cat"}, {"id": 7, "name": "dog"}]


def save(path, size=(40, 30), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    level = sum(map(ord, path.name)) % 200
    Image.new("RGB", size, (level, 90, 40)).save(path, **options)


def image(number, name, size=(40, 30)):
    return {"id": number, "file_name": name, "width": size[0], "height": size[1]}


def box(number, image_id, bbox, category=7, **keys):
    return {"id": number, "image_id": image_id, "category_id": category, "bbox": bbox, "iscrowd": 0, **keys}


def write(path, images, annotations, categories=CATEGORIES):
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


@pytest.fixture
def make(tmp_path):
    """Return a function that writes images and one COCO file and builds the index."""

    def make(annotations, images=None, categories=CATEGORIES, files=None, **keys):
        images = [image(0, "a.png"), image(5, "b.png")] if images is None else images
        for name in files or [one["file_name"] for one in images]:
            save(tmp_path / "data" / name)
        write(tmp_path / "data" / "instances.json", images, annotations, categories)
        return build(tmp_path, **keys)

    return make


def build(tmp_path, path="data", **keys):
    folder = tmp_path / "result"
    folder.mkdir()
    report = build_coco(CocoSource(path=str(tmp_path / path), **keys), 0, folder)
    (folder / "report.json").write_text(json.dumps(report))
    tables = [pl.read_parquet(folder / f"{name}.parquet") for name in ("items", "objects")]
    return report, *tables, folder


def refused(tmp_path, make, *arguments, **keys):
    with pytest.raises(DataError) as caught:
        make(*arguments, **keys)
    assert not list((tmp_path / "result").iterdir()), "nothing may be computed"
    return str(caught.value)


def boxes_of(objects):
    return objects.select("item", "label", "x_px", "y_px", "width_px", "height_px", "crowd").rows()


def test_images_and_boxes_become_items_and_objects(make):
    report, items, objects, folder = make([box(1, 0, [2, 3, 10, 5]), box(2, 0, [0, 0, 4, 4], 90)])
    assert items.schema == pl.Schema(IMAGE_ITEM_COLUMNS)
    assert objects.schema == pl.Schema(OBJECT_COLUMNS)
    assert items["item"].to_list() == ["a.png", "b.png"]
    assert boxes_of(objects) == [("a.png", "dog", 2, 3, 10, 5, False), ("a.png", "cat", 0, 0, 4, 4, False)]
    assert (report["images"], report["objects"], report["labels"]) == (2, 2, {"dog": 1, "cat": 1})
    assert (folder / "pictures" / "samples.png").stat().st_size < 100_000
    assert items["mask"].null_count() == 2
    assert not (folder / "mask_classes.parquet").exists()


def test_ids_of_0_are_ids_like_all_others(make):
    categories = [{"id": 0, "name": "dog"}]
    _, _, objects, _ = make([box(0, 0, [2, 3, 10, 5], 0)], [image(0, "a.png")], categories)
    assert boxes_of(objects) == [("a.png", "dog", 2, 3, 10, 5, False)]


def test_images_without_annotations_are_known_to_be_empty(make):
    report, items, _, _ = make([box(1, 0, [2, 3, 10, 5])])
    assert report["empty_images"] == 1
    assert items["labelled"].all()


def test_the_ground_truth_of_a_file_without_annotations_is_unknown(make):
    report, items, objects, _ = make(None)
    assert not items["labelled"].any()
    assert (report["images_without_truth"], report["empty_images"], len(objects)) == (2, 0, 0)


def test_crowd_regions_are_marked_and_counted_apart(make):
    rle = {"size": [30, 40], "counts": [0, 60, 1140]}
    crowd = box(1, 0, [0, 0, 2, 30], iscrowd=1, segmentation=rle)
    report, _, objects, _ = make([crowd, box(2, 5, [1, 1, 5, 5])])
    assert objects["crowd"].to_list() == [True, False]
    assert (report["crowds"], report["objects"]) == (1, 1)


def test_an_annotation_repeated_word_for_word_counts_once(make):
    report, _, objects, _ = make([box(1, 0, [2, 3, 10, 5]), box(1, 0, [2, 3, 10, 5])])
    assert (len(objects), report["duplicates_left_out"]) == (1, 1)


def test_file_names_with_folders_are_followed_and_keep_them(make):
    images = [image(1, "x/a.png"), image(2, "y\\a.png")]
    _, items, _, _ = make([], images, files=["x/a.png", "y/a.png"])
    assert items.select("item", "folder").rows() == [("x/a.png", "x"), ("y/a.png", "y")]


def test_an_image_that_is_listed_nowhere_is_counted(make):
    report, _, _, _ = make([], [image(1, "a.png")], files=["a.png", "left.png"])
    assert report["images_not_listed"] == 1


def test_a_box_slightly_outside_is_clipped_and_counted(make):
    report, _, objects, _ = make([box(1, 0, [-1, 2, 10, 29.6])])
    assert boxes_of(objects) == [("a.png", "dog", 0, 2, 9, 28, False)]
    assert report["boxes_clipped"] == 1


NAN = float("nan")
BAD = [
    (box(3, 0, [5, 5, 0, 4]), "has no area"),
    (box(3, 0, [5, 5, -3, 4]), "has no area"),
    (box(3, 0, [NAN, 5, 3, 4]), "no finite number"),
    (box(3, 0, [100, 5, 3, 4]), "out of the image of 40x30 px"),
    (box(3, 0, [1, 2, 3]), "bbox is [1, 2, 3], expected four numbers"),
    (box(3, 0, ["1", 2, 3, 4]), "expected four numbers"),
    (box(3, 99, [1, 2, 3, 4]), "image_id 99 is the id of no image"),
    (box(3, 0, [1, 2, 3, 4], 1), "category_id 1 is the id of no category"),
    (box(3, 0, [1, 2, 3, 4], None), "category_id None is the id of no category"),
    (box(3, 0, [1, 2, 3, 4], iscrowd=2), "iscrowd is 2, expected 0 or 1"),
    (box(3, 0, None), "has neither bbox nor segmentation"),
    (box(3, 0, [1, 2, 3, 4], segmentation=[[1, 2, 3]]), "has 3 numbers; expected pairs, three or more"),
    (box(3, 0, [1, 2, 3, 4], segmentation=[[1, 2, 3, 4, 5, NAN]]), "holds something that is no finite number"),
    (box(3, 0, [1, 2, 3, 4], segmentation={"size": [30, 40], "counts": [7]}), "sum to 7, expected 1200 (40x30 px)"),
    (box(3, 0, [1, 2, 3, 4], segmentation={"size": [3, 4], "counts": [12]}), "are of 4x3 px, but its image is 40x30"),
    (box(1, 0, [9, 9, 3, 4]), "annotations[0], which is another one, has the same id"),
]


def test_all_bad_annotations_are_reported_at_once_with_entry_and_id(tmp_path, make):
    bad = [{**annotation, "id": 1 if annotation["id"] == 1 else 100 + n} for n, (annotation, _) in enumerate(BAD)]
    message = refused(tmp_path, make, [box(1, 0, [2, 3, 10, 5]), *bad])
    assert f"{len(BAD)} problems; nothing was computed. source.bad_annotations: leave_out goes on" in message
    for place, (annotation, (_, reason)) in enumerate(zip(bad, BAD, strict=True), 1):
        line = next(line for line in message.splitlines() if f"annotations[{place}] (id {annotation['id']}): " in line)
        assert reason in line


def test_bad_annotations_can_be_left_out_and_are_reported(make):
    report, _, objects, _ = make([box(1, 0, [2, 3, 10, 5]), BAD[0][0], BAD[6][0]], bad_annotations="leave_out")
    assert (len(objects), report["left_out"]) == (1, 2)
    assert "annotations[1] (id 3): its box" in "\n".join(report["left_out_first"])


@pytest.mark.parametrize(
    ("size", "counts", "reason"),
    [
        ([2, 4], [2**62] * 4 + [8], "sum to more than 2147483647, expected 8 (4x2 px)"),
        ([2, 4], [2**64], "sum to more than 2147483647, expected 8 (4x2 px)"),
        ([2, 4], [-(2**64), 2**64 + 8], "are not whole numbers from 0 on"),
        ([2, 4], "o" * 100 + "0", "not whole numbers from 0 on with the sum"),
        ([2, 4], "su", "hold 's', which no compressed text has"),
        ([0, 8], [8], "the size of its run lengths is [0, 8], expected height and width"),
        ([2**16, 2**16], [2**32], "are of more than 2,147,483,647 px"),
        ([2**40, 2**40], [2**80], "are of more than 2,147,483,647 px"),
        ([2**15, 2**15], [2**30], "are of 32768x32768 px, but its image is 40x30 px"),
    ],
)
def test_run_lengths_that_cannot_be_drawn_are_bad_annotations_like_all_others(tmp_path, make, size, counts, reason):
    """The image states no size, so that nothing but the run lengths themselves says that they can't be right."""
    unstated = [{"id": 0, "file_name": "a.png"}]
    annotation = box(1, 0, None, segmentation={"size": size, "counts": counts})
    message = refused(tmp_path, make, [annotation], unstated)
    assert "instances.json: annotations[0] (id 1): " in message
    assert reason in message


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([image(1, "a.png"), image(1, "b.png")], "images[1] (id 1): the image 'a.png' has the same id"),
        (
            [image(1, "a.png"), image(2, "a.png")],
            "image 'a.png' (id 2): the same file is instances.json: image 'a.png'",
        ),
        ([image(1, "a.png", (41, 30))], "is stated to be 41x30 px, but the file has 40x30 px; mend width and height"),
        ([image(1, "a.png", (0, 30))], "has width 0 and height 30; expected whole numbers"),
        ([{"id": 1}], "images[0] (id 1): has no file_name"),
        ([{"file_name": "a.png"}], "images[0]: has no id"),
        ([image(1, "../a.png")], "its file_name leads out of the folder"),
        ([image(1, "gone.png")], "'gone.png' (id 1): is not in"),
    ],
)
def test_an_invalid_image_is_reported_with_its_entry(tmp_path, make, images, reason):
    assert reason in refused(tmp_path, make, [], images, files=["a.png", "b.png"])


def test_an_image_repeated_word_for_word_counts_once(make):
    report, items, _, _ = make([], [image(1, "a.png"), image(1, "a.png")])
    assert (len(items), report["duplicates_left_out"]) == (1, 1)


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "categories[1] (id 1): 'b' has the id of 'a'"),
        ([{"id": 1, "name": "a"}, {"id": 2, "name": "a"}], "another category is called 'a' as well"),
        ([{"id": 1, "name": " "}], "categories[0] (id 1): has no name"),
    ],
)
def test_an_invalid_category_is_reported_with_its_entry(tmp_path, make, categories, reason):
    assert reason in refused(tmp_path, make, [], categories=categories)


def test_a_damaged_image_is_named_with_its_entry(tmp_path, make):
    save(tmp_path / "data" / "a.png")
    write(tmp_path / "data" / "instances.json", [image(1, "a.png")], [])
    (tmp_path / "data" / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"instances.json: image 'a.png' \(id 1\): is no image that can be read"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"images": [],\n "annot', "instances.json:2: is no JSON, or cut off"),
        ("[]", "holds a list, as files of predictions do"),
        ("{}", "is no COCO file: it has no images and no categories"),
        ('{"images": 1, "categories": []}', "images is no list"),
    ],
)
def test_a_file_that_is_not_a_coco_file_is_refused(tmp_path, text, reason):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "instances.json").write_text(text)
    with pytest.raises(DataError) as caught:
        build(tmp_path)
    assert reason in str(caught.value)


# Rotation: a picture of 40x30 stored as 30x40 or so.


def rotated(tmp_path, stated, bbox, **keys):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "data" / "a.jpg", (40, 30), exif=exif)
    write(tmp_path / "data" / "instances.json", [image(1, "a.jpg", stated)], [box(1, 1, bbox, **keys)])
    return build(tmp_path)


def test_boxes_of_the_upright_image_stay(tmp_path):
    _, items, objects, _ = rotated(tmp_path, (30, 40), [2, 3, 10, 5])
    assert items.select("width_px", "height_px").row(0) == (30, 40)
    assert boxes_of(objects) == [("a.jpg", "dog", 2, 3, 10, 5, False)]


def test_boxes_and_masks_of_the_stored_image_are_turned_with_it(tmp_path):
    report, items, objects, folder = rotated(
        tmp_path, (40, 30), [2, 3, 10, 5], segmentation=[[2, 3, 12, 3, 12, 8, 2, 8]]
    )
    assert boxes_of(objects) == [("a.jpg", "dog", 30 - 8, 2, 5, 10, False)]
    assert report["images_turned"] == 1
    mask = read_mask((mask_root_of(folder) / items["mask"][0]).read_bytes())
    assert mask.shape == (40, 30)
    assert (mask[2:12, 22:27] == 1).all()
    assert mask.sum() == 50


def test_a_square_image_is_turned_as_the_others_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = Image.Exif()
    turned[0x0112] = 8
    save(tmp_path / "data" / "square.jpg", (30, 30), exif=exif)
    save(tmp_path / "data" / "long.jpg", (40, 30), exif=turned)
    images = [image(1, "square.jpg", (30, 30)), image(2, "long.jpg", (40, 30))]
    write(tmp_path / "data" / "instances.json", images, [box(1, 1, [0, 0, 10, 5])])
    _, _, objects, _ = build(tmp_path)
    assert boxes_of(objects) == [("square.jpg", "dog", 20, 25, 10, 5, False)]


# Outlines


def masks_of(items, folder):
    return [read_mask((mask_root_of(folder) / name).read_bytes()) for name in items["mask"]]


def test_outlines_become_masks_whatever_their_spelling(make):
    drawn = np.zeros((30, 40), np.uint8)
    drawn[4:9, 6:20] = 1
    packed = coco_masks.encode(np.asfortranarray(drawn))
    spellings = [
        [[6, 4, 20, 4, 20, 9, 6, 9]],
        [6, 4, 20, 4, 20, 9, 6, 9],
        {"size": [30, 40], "counts": packed["counts"].decode()},
        {"size": [30, 40], "counts": counts_from(drawn)},
    ]
    images = [image(number, f"{number}.png") for number in range(4)]
    annotations = [box(n, n, [6, 4, 14, 5], segmentation=one) for n, one in enumerate(spellings)]
    report, items, _, folder = make(annotations, images)
    assert report["mask_root"] == "."
    for mask in masks_of(items, folder):
        assert np.array_equal(mask, drawn)


def counts_from(drawn):
    flat = drawn.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    return np.diff(np.r_[0, ends, len(flat)]).tolist()


def test_mask_values_follow_the_order_of_the_categories(make):
    outline = [[1, 1, 5, 1, 5, 5, 1, 5]]
    _, _, _, folder = make([box(1, 0, [1, 1, 4, 4], segmentation=outline)])
    classes = pl.read_parquet(folder / "mask_classes.parquet")
    assert classes.schema == pl.Schema(MASK_CLASS_COLUMNS)
    assert classes.rows() == [(0, None, "background"), (1, "dog", "class"), (2, "cat", "class"), (255, None, "ignore")]


def test_small_objects_lie_on_large_ones_and_crowds_are_unknown(make):
    large = box(1, 0, [0, 0, 20, 20], segmentation=[[0, 0, 20, 0, 20, 20, 0, 20]])
    small = box(2, 0, [5, 5, 4, 4], 90, segmentation=[[5, 5, 9, 5, 9, 9, 5, 9]])
    crowd = box(3, 0, [0, 0, 2, 30], iscrowd=1, segmentation={"size": [30, 40], "counts": [0, 60, 1140]})
    only_box = box(4, 0, [30, 20, 5, 5])
    _, items, _, folder = make([small, large, crowd, only_box])
    first, empty = masks_of(items, folder)
    assert (first[6, 6], first[12, 12], first[10, 1], first[25, 1], first[22, 32]) == (2, 1, 1, 255, 255)
    assert not empty.any()


def test_an_annotation_without_a_box_gets_the_box_around_its_outline(make):
    rle = {"size": [30, 40], "counts": counts_from(np.pad(np.ones((3, 4), np.uint8), ((5, 22), (6, 30))))}
    polygon = box(1, 0, None, segmentation=[[6, 5, 10, 5, 10, 8, 6, 8]])
    _, _, objects, _ = make([polygon, box(2, 5, None, segmentation=rle)])
    assert [row[2:6] for row in boxes_of(objects)] == [(6, 5, 4, 3)] * 2


def test_masks_can_be_left_out(make):
    report, items, _, folder = make([box(1, 0, None, segmentation=[[6, 5, 10, 5, 10, 8, 6, 8]])], masks=False)
    assert items["mask"].null_count() == 2
    assert not (folder / "masks").exists()
    assert "mask_root" not in report


# Subsets


def test_a_file_per_subset_gives_subsets_and_may_number_categories_differently(tmp_path):
    root = tmp_path / "data"
    for number, (subset, year) in enumerate([("train", "train2017"), ("val", "val2017")]):
        save(root / year / f"{number}.png")
        categories = [{"id": 1 + number, "name": "dog"}, {"id": 2 - number, "name": "cat"}]
        annotations = [box(1, 1, [1, 1, 5, 5], 1 + number)]
        write(
            root / "annotations" / f"instances_{subset}2017.json", [image(1, f"{number}.png")], annotations, categories
        )
    (root / "annotations" / "captions_val2017.json").write_text("{}")
    report, items, objects, _ = build(tmp_path)
    assert items.select("item", "given_subset").rows() == [
        ("train2017/0.png", "train"),
        ("val2017/1.png", "validation"),
    ]
    assert objects["label"].to_list() == ["dog", "dog"]
    assert report["given_subsets"] == {"train": 1, "validation": 1}


def test_subset_folders_with_a_file_each_are_found(tmp_path):
    for subset in ("train", "valid", "test"):
        save(tmp_path / "data" / subset / f"{subset}.png")
        write(tmp_path / "data" / subset / "_annotations.coco.json", [image(1, f"{subset}.png")], [])
    _, items, _, _ = build(tmp_path)
    assert sorted(items["given_subset"]) == ["test", "train", "validation"]


def test_files_and_images_can_be_named(tmp_path):
    for name in ("one", "two"):
        save(tmp_path / "pictures" / f"{name}.png")
        write(tmp_path / "data" / f"{name}.json", [image(1, f"{name}.png")], [])
    keys = {"annotations": {"train": "one.json", "val": "two.json"}, "images": "../pictures"}
    _, items, _, _ = build(tmp_path, **keys)
    assert items["given_subset"].to_list() == ["train", "validation"]


def test_files_of_unknown_subsets_are_named_with_the_way_out(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "data" / f"{name}.json", [], [])
    with pytest.raises(DataError, match=r"one.json \(no subset\).*Name them: source.annotations: {train: FILE"):
        build(tmp_path)


def test_an_image_in_two_subsets_is_refused(tmp_path):
    save(tmp_path / "data" / "images" / "a.png")
    for subset in ("train", "val"):
        write(tmp_path / "data" / f"{subset}.json", [image(1, "a.png")], [])
    with pytest.raises(DataError, match=r"val.json: image 'a.png' \(id 1\): the same file is train.json"):
        build(tmp_path)


def test_a_json_file_in_annotations_finds_its_images_beside_the_folder(tmp_path):
    save(tmp_path / "data" / "images" / "a.png")
    write(tmp_path / "data" / "annotations" / "mine.json", [image(1, "a.png")], [])
    _, items, _, _ = build(tmp_path, "data/annotations/mine.json")
    assert items["item"].to_list() == ["a.png"]


@pytest.mark.parametrize("names", [("Training", "Testing"), ("train", "Testing"), ("train_set", "test_set")])
def test_folders_named_like_subsets_in_other_words_are_subsets(tmp_path, names):
    for name in names:
        save(tmp_path / "data" / name / "a.png")
        write(tmp_path / "data" / name / "_annotations.coco.json", [image(1, "a.png")], [box(1, 1, [2, 3, 10, 8])])
    items = build(tmp_path)[1]
    assert set(items.select("item", "given_subset").rows()) == {
        (f"{names[0]}/a.png", "train"),
        (f"{names[1]}/a.png", "test"),
    }


def test_a_sentence_says_that_most_images_are_listed_nowhere(make, tmp_path):
    for name in ("c.png", "d.png", "e.png"):
        save(tmp_path / "data" / name)
    report = make([box(1, 0, [2, 3, 10, 8])])[0]
    assert any("3 of 5 images are in no JSON file" in line for line in report["warnings"])


def test_some_images_that_are_listed_nowhere_are_no_reason_for_a_warning(make, tmp_path):
    save(tmp_path / "data" / "c.png")
    assert make([box(1, 0, [2, 3, 10, 8])])[0]["warnings"] == []


def test_images_are_found_in_the_folder_data_as_fiftyone_writes_it(tmp_path):
    save(tmp_path / "data" / "data" / "a.png")
    write(tmp_path / "data" / "labels.json", [image(1, "a.png")], [box(1, 1, [2, 3, 10, 8])])
    assert boxes_of(build(tmp_path)[2]) == [("a.png", "dog", 2, 3, 10, 8, False)]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"score": 0.5}, "annotations have a score, as predictions do"),
        ({"attributes": {"rotation": 30.0, "occluded": False}}, "annotations have a rotation, which is not read"),
        ({"attributes": {"rotation": 0.0}}, None),
        ({"attributes": ["rotation"], "score": None}, None),
    ],
)
def test_keys_that_say_that_boxes_are_not_what_they_seem_are_told(tmp_path, keys, told):
    root = tmp_path / "annotated"
    save_images(root / "images", 2)
    content = coco_content(2)
    for entry in content["annotations"]:
        entry.update(keys)
    write_coco(root, content)
    warnings = Index("coco", root, tmp_path / "index").report["warnings"]
    assert [told in warning for warning in warnings] == [True] if told else warnings == []


def test_what_is_the_same_in_several_files_is_said_once(tmp_path):
    root = [{"id": 0, "name": "pets", "supercategory": "none"}, {"id": 7, "name": "dog", "supercategory": "pets"}]
    for subset in ("train", "valid", "test"):
        folder = tmp_path / "data" / subset
        save(folder / f"{subset}.png")
        write(folder / "_annotations.coco.json", [image(1, f"{subset}.png")], [box(1, 1, [1, 1, 9, 9])], root)
    (note,) = build(tmp_path)[0]["warnings"]
    assert note.startswith("test/_annotations.coco.json and 2 more: category 'pets' (id 0) names the group of all")


@pytest.mark.parametrize("place", ["a.xml", "Annotations/a.xml", "VOCdevkit/VOC2012/Annotations/a.xml"])
def test_a_folder_of_pascal_voc_is_called_by_its_name(tmp_path, place):
    file = tmp_path / "data" / place
    file.parent.mkdir(parents=True)
    file.write_text("<annotation/>")
    with pytest.raises(DataError, match=r"holds no JSON file.* \.xml files.*: boxes of Pascal VOC are not read"):
        find_coco_paths(CocoSource(path=str(tmp_path / "data")))


def test_a_file_of_pascal_voc_is_called_by_its_name(tmp_path):
    (tmp_path / "a.xml").write_text("<annotation/>")
    with pytest.raises(DataError, match=r"is no JSON file: boxes of Pascal VOC are not read"):
        find_coco_paths(CocoSource(path=str(tmp_path / "a.xml")))
