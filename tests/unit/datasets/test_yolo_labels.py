"""Label files of YOLO: found wherever tools put them, and read as what they are."""

import os

import pytest
from PIL import Image

from assay.datasets.annotations import MOST_OBJECTS
from assay.errors import DataError
from tests.helpers.annotated_data import (
    OBJECT,
    SIDE,
    Index,
    corners,
    names,
    outline,
    save_images,
    truth,
    write_labels,
    yolo_lines,
)

COUNT = 6
TRUTH = truth(COUNT)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def config(root, text="train: images\n", name="data.yaml"):
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(f"names: [box]\n{text}")


def read(root, tmp_path, result="result", **keys):
    return Index("yolo", root, tmp_path / result, **keys)


def refused(root, tmp_path, **keys):
    with pytest.raises(DataError) as caught:
        read(root, tmp_path, **keys)
    return str(caught.value)


# Where label files are


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images", "labels"),
        ("images", "images"),
        ("Images", "Labels"),
        ("Images", "labels"),
        ("IMAGES", "LABELS"),
        ("images/train", "labels/train"),
        ("images/train", "images/train"),
        ("Images/train", "Labels/train"),
        ("train/images", "train/labels"),
        ("images/x/images", "images/x/labels"),
        ("images/x/images", "labels/x/images"),
        ("images/x/images", "images/x/images"),
        ("pictures", "pictures"),
        (".", "."),
    ],
)
@pytest.mark.system
def test_labels_are_found(root, tmp_path, images, labels):
    save_images(root / images, COUNT)
    write_labels(root / labels, yolo_lines(COUNT))
    config(root, f"train: {images}\n")
    index = read(root, tmp_path)
    assert (index.boxes, index.report["warnings"]) == (TRUTH, [])


def test_labels_below_any_folder_called_images_are_found_beside_their_images(tmp_path):
    root = tmp_path / "images" / "mine"
    save_images(root / "a", COUNT)
    write_labels(root / "a", yolo_lines(COUNT))
    config(root, "train: a\n")
    assert read(root, tmp_path).boxes == TRUTH


@pytest.mark.parametrize("path", ["data", "data/images"])
def test_labelimg_puts_everything_into_one_folder(root, tmp_path, path):
    save_images(root / "images", COUNT)
    write_labels(root / "images", yolo_lines(COUNT))
    (root / "images" / "classes.txt").write_text("box\n")
    assert read(tmp_path / path, tmp_path).boxes == TRUTH


@pytest.mark.parametrize(("image", "label"), [("\u00e9", "e\u0301"), ("e\u0301", "\u00e9")])
def test_labels_are_found_whatever_the_spelling_of_their_names(root, tmp_path, image, label):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(COUNT))
    for name in names(COUNT):
        (root / "images" / name).rename(root / "images" / f"{image}{name}")
        old = (root / "labels" / name).with_suffix(".txt")
        old.rename(old.with_name(f"{label}{old.name}"))
    config(root)
    assert read(root, tmp_path).boxes == {f"{image}{name}": boxes for name, boxes in TRUTH.items()}


@pytest.mark.parametrize("folder", ["label", "annotations", "labels_txt", "images/labels"])
def test_labels_elsewhere_are_refused_with_the_place_to_move_them_to(root, tmp_path, folder):
    save_images(root / "images", COUNT)
    write_labels(root / folder, yolo_lines(COUNT))
    config(root)
    message = refused(root, tmp_path)
    assert f"{folder}/i00.txt: is not read, but has the name of images/i00.png, which has no label file" in message


def test_a_label_elsewhere_of_the_name_of_an_image_without_one_makes_its_truth_unknown(root, tmp_path):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(COUNT))
    (root / "old").mkdir()
    (root / "labels" / "i01.txt").rename(root / "old" / "i01.txt")
    config(root)
    index = read(root, tmp_path)
    assert index.known == [name for name in names(COUNT) if name != "i01.png"]
    assert "old/i01.txt: is not read, but has the name of images/i01.png" in index.report["warnings"][0]


@pytest.mark.parametrize("name", ["I00.TXT", "I00.txt"])
def test_labels_in_another_case_are_refused(root, tmp_path, name):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(COUNT))
    (root / "labels" / "i00.txt").rename(root / "labels" / name)
    config(root)
    message = refused(root, tmp_path)
    assert f"labels/{name}: there is no image of that name; nearest without a label file: images/i00.png" in message


def test_label_files_that_nothing_needs_are_reported(root, tmp_path):
    """Copies, and those of images that data.yaml does not name."""
    save_images(root / "images" / "train", COUNT)
    write_labels(root / "labels" / "train", yolo_lines(COUNT))
    save_images(root / "images" / "val", 2)
    write_labels(root / "labels" / "val", yolo_lines(2))
    write_labels(root / "old", yolo_lines(2))
    (root / "notes.txt").write_text("1 2 3 go\n")
    (root / "labels" / "train" / "i05.txt").unlink()
    config(root, "train: images/train\n")
    index = read(root, tmp_path)
    assert index.known == names(COUNT)
    assert index.report["warnings"] == ["2 label files belong to none of the images: old/i00.txt, old/i01.txt"]


def test_many_images_without_a_label_file_are_told(root, tmp_path):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(2))
    config(root)
    index = read(root, tmp_path)
    assert index.report["images_without_label_file"] == 4
    assert index.report["warnings"] == [
        "4 of 6 images have no label file, which counts as known to be empty; that of images/i02.png would be "
        "labels/i02.txt"
    ]
    write_labels(root / "labels", yolo_lines(3))
    assert read(root, tmp_path, "again").report["warnings"] == []


# Files that can't be read


def as_pipe(path):
    path.unlink()
    os.mkfifo(path)


def as_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def as_circle(path):
    path.unlink()
    path.symlink_to(path.name)


def as_dead_link(path):
    path.unlink()
    path.symlink_to("gone.txt")


def as_folder(path):
    path.unlink()
    path.mkdir()


def as_million_lines(path):
    path.write_bytes(b"0 0.5 0.5 0.5 0.5\n" * (MOST_OBJECTS + 1))


def as_utf_16(path):
    path.write_text(path.read_text(), encoding="utf-16")


def as_sparse(path):
    with path.open("wb") as file:
        file.truncate(2**40)


ODD = [
    (as_pipe, "is a pipe (FIFO); expected a regular file"),
    (as_device, "is a device; expected a regular file"),
    (as_circle, "can't be read: Too many levels of symbolic links"),
    (as_dead_link, "is a link that leads nowhere"),
    (as_folder, "is a folder; expected a regular file"),
    (as_million_lines, "holds 100,001 lines; expected at most 100,000, one per object"),
    (as_utf_16, "can't be read as text (invalid start byte at byte 0); save it as UTF-8"),
    (as_sparse, "expected at most 67,108,864"),
]


@pytest.mark.parametrize(("change", "reason"), ODD)
def test_a_label_file_that_cannot_be_read_is_named_and_its_image_not_known(root, tmp_path, change, reason):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(COUNT))
    config(root)
    change(root / "labels" / "i01.txt")
    message = refused(root, tmp_path)
    assert "labels/i01.txt: " in message
    assert reason in message
    index = read(root, tmp_path, "again", bad_annotations="leave_out")
    others = {name: boxes for name, boxes in TRUTH.items() if name != "i01.png"}
    assert (index.boxes, index.known, index.report["left_out"]) == (others, sorted(others), 1)


@pytest.mark.parametrize(
    "line", ["0 0.5 0.5 0 0", "7 0.5 0.5 0.1 0.1", "cat 0.5 0.5 0.1 0.1", "0 nan 0.5 0.1 0.1", "0"]
)
@pytest.mark.parametrize("alone", [True, False])
def test_an_image_that_lost_a_line_is_not_known(root, tmp_path, line, alone):
    lines = yolo_lines(COUNT)
    lines[1] = line if alone else f"{lines[1]}\n{line}"
    save_images(root / "images", COUNT)
    write_labels(root / "labels", lines)
    config(root)
    index = read(root, tmp_path, bad_annotations="leave_out")
    assert index.known == [name for name in names(COUNT) if name != "i01.png"]
    assert index.boxes.get("i01.png") == (None if alone else TRUTH["i01.png"])


# Lines


def pose_lines(key_points, dimensions, seed=0):
    lines = []
    for line, (left, top) in zip(yolo_lines(COUNT, seed), corners(COUNT, seed), strict=True):
        words = [line]
        for number in range(key_points):
            x, y = left + 2 + 3 * number % OBJECT, top + 3 + 5 * number % 9
            words.append(f"{x / SIDE:.5f} {y / SIDE:.5f}" + f" {number % 2}" * (dimensions == 3))
        lines.append(" ".join(words))
    return lines


@pytest.mark.parametrize("key_points", [1, 2, 3, 17])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_box_of_a_pose_is_its_first_four_numbers(root, tmp_path, key_points, dimensions):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", [*pose_lines(key_points, dimensions)[:-1], yolo_lines(COUNT)[-1]])
    config(root, f"train: images\nkpt_shape: [{key_points}, {dimensions}]\n")
    index = read(root, tmp_path)
    assert index.boxes == TRUTH
    assert index.items["mask"].null_count() == COUNT


@pytest.mark.parametrize("key_points", [1, 2, 3, 17])
@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.system
def test_poses_without_a_shape_are_refused_with_the_key_that_is_missing(root, tmp_path, key_points, dimensions, masks):
    save_images(root / "images", COUNT)
    write_labels(root / "images", pose_lines(key_points, dimensions))
    (root / "images" / "classes.txt").write_text("box\n")
    message = refused(root, tmp_path, masks=masks)
    assert message.count(f"kpt_shape: [{key_points}, {dimensions}]") == COUNT
    assert read(root, tmp_path, "again", masks=masks, bad_annotations="leave_out").known == []


def test_a_pose_of_another_length_is_a_bad_annotation(root, tmp_path):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", pose_lines(2, 3))
    config(root, "train: images\nkpt_shape: [3, 3]\n")
    assert "labels/i00.txt:1: has 11 values; expected 14: class, box and 3 key points of 3" in refused(root, tmp_path)


@pytest.mark.parametrize("shape", ["[17]", "[17, 4]", "[0, 3]", "17", "[a, b]", "[1.5, 2]", "{a: 1}"])
def test_an_odd_shape_of_key_points_is_refused(root, tmp_path, shape):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(COUNT))
    config(root, f"train: images\nkpt_shape: {shape}\n")
    assert "expected the number of key points and 2 or 3, such as [17, 3]" in refused(root, tmp_path)


def polygon_line(left, top, turn):
    points = outline(left, top)
    points = points[2 * turn :] + points[: 2 * turn]
    return "0 " + " ".join(f"{value / SIDE:.6f}" for value in points)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("turn", range(4))
@pytest.mark.system
def test_polygons_of_four_corners_are_no_poses(root, tmp_path, seed, turn):
    save_images(root / "images", COUNT, seed)
    write_labels(root / "labels", [polygon_line(left, top, turn) for left, top in corners(COUNT, seed)])
    config(root)
    assert read(root, tmp_path).boxes == truth(COUNT, seed)


def test_polygons_without_a_pixel_are_bad_annotations(root, tmp_path):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", [*yolo_lines(COUNT)[1:], "0 0.1602 0.1602 0.1603 0.1602 0.1603 0.1604"])
    config(root)
    assert "labels/i05.txt:1: its outline covers no pixel of the image" in refused(root, tmp_path)
    assert read(root, tmp_path, "again", masks=False).boxes["i05.png"]


def test_corners_in_place_of_centre_and_size_are_told(root, tmp_path):
    save_images(root / "images", 3)
    write_labels(root / "labels", ["0 0.2 0.25 0.4 0.5", "0 0.1 0.2 0.3 0.5", "0 0.2 0.5 0.9 0.9"])
    config(root)
    message = refused(root, tmp_path)
    assert message.count("is this x1, y1, x2, y2 rather than centre, width, height?") == 3
    assert read(root, tmp_path, "again", bad_annotations="leave_out").known == []


# data.yaml and lists


@pytest.mark.parametrize("text", ["train: images\\train\n", "train: .\\images\\train\\\n", "train: list.txt\n"])
def test_paths_of_windows_are_followed(root, tmp_path, text):
    save_images(root / "images" / "train", COUNT)
    write_labels(root / "labels" / "train", yolo_lines(COUNT))
    (root / "list.txt").write_text("".join(f".\\images\\train\\{name}\r\n" for name in names(COUNT)))
    config(root, text)
    assert read(root, tmp_path).boxes == TRUTH


@pytest.mark.parametrize("name", ["coco128.yaml", "my data.yml"])
def test_the_only_yaml_file_that_names_classes_is_taken(root, tmp_path, name):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(COUNT))
    config(root, name=name)
    (root / "hyp.yaml").write_text("lr0: 0.01\n")
    assert read(root, tmp_path).boxes == TRUTH


def test_several_yaml_files_that_name_classes_are_named(root, tmp_path):
    config(root, name="a.yaml")
    config(root, name="b.yaml")
    assert "holds no data.yaml, but a.yaml, b.yaml; give one of them as source.path" in refused(root, tmp_path)


@pytest.mark.parametrize(
    ("names_text", "reason"),
    [
        ("[null]", "names holds None; expected texts"),
        ("[[a]]", "names holds ['a']; expected texts"),
        ("{0: null}", "names holds None; expected texts"),
    ],
)
def test_names_that_are_no_texts_are_refused(root, tmp_path, names_text, reason):
    root.mkdir()
    (root / "data.yaml").write_text(f"names: {names_text}\ntrain: images\n")
    assert reason in refused(root, tmp_path)


def test_names_in_another_encoding_are_refused(root, tmp_path):
    save_images(root, 1)
    (root / "classes.txt").write_bytes("Größe\n".encode("latin-1"))
    assert "is no text in UTF-8; save it as such" in refused(root, tmp_path)


def test_a_pipe_in_place_of_a_list_is_refused(root, tmp_path):
    config(root, "train: list.txt\n")
    os.mkfifo(root / "list.txt")
    assert "list.txt: is a pipe (FIFO); expected a regular file" in refused(root, tmp_path)


def test_an_image_that_is_a_pipe_is_refused(root, tmp_path):
    save_images(root / "images", 2)
    os.mkfifo(root / "images" / "odd.png")
    write_labels(root / "labels", yolo_lines(2))
    config(root)
    assert "images/odd.png: is a pipe (FIFO)" in refused(root, tmp_path)


def test_a_folder_in_another_case_is_told(root, tmp_path):
    save_images(root / "images", 1)
    config(root, "train: Images\n")
    assert "there is 'images', in which upper and lower case differ" in refused(root, tmp_path)


def test_many_lines_without_outlines_keep_their_image(root, tmp_path):
    root.mkdir()
    Image.new("L", (SIDE, SIDE)).save(root / "a.png")
    (root / "classes.txt").write_text("box\n")
    lines = [f"0 {0.2 + number / 5000:.4f} 0.5 0.2 0.2" for number in range(2000)]
    (root / "a.txt").write_text("\n".join(lines))
    assert len(read(root, tmp_path).boxes["a.png"]) == 2000


# Confidence and track ID


def tracked(root, ids):
    """Write label files as trackers do: class, box, confidence, ID."""
    config(root)
    save_images(root / "images", len(ids))
    (root / "labels").mkdir()
    for image, number in zip(sorted((root / "images").iterdir()), ids, strict=True):
        (root / "labels" / f"{image.stem}.txt").write_text(f"0 0.5 0.5 0.25 0.25 0.93 {number}\n")


@pytest.mark.parametrize("ids", [[1], [1, 1, 0], [1, 2, 7]])
def test_a_box_with_confidence_and_track_id_is_no_triangle(root, tmp_path, ids):
    tracked(root, ids)
    message = refused(root, tmp_path)
    assert "confidence and the ID of a track; expected 5 values" in message


def test_triangles_are_triangles(root, tmp_path):
    config(root)
    save_images(root / "images", 2)
    (root / "labels").mkdir()
    for image, line in zip(
        sorted((root / "images").iterdir()), ("0 0.1 0.1 0.5 0.1 0.3 0.6", "0 0.2 0.9 0.9 0.9 0.5 1"), strict=True
    ):
        (root / "labels" / f"{image.stem}.txt").write_text(line)
    assert len(read(root, tmp_path).boxes) == 2


@pytest.mark.parametrize("ending", ["TXT", "Txt"])
def test_label_files_may_end_in_upper_case(root, tmp_path, ending):
    save_images(root / "images", COUNT)
    write_labels(root / "labels", yolo_lines(COUNT))
    for file in list((root / "labels").iterdir()):
        file.rename(file.with_suffix(f".{ending}"))
    config(root)
    index = read(root, tmp_path)
    assert (index.boxes, index.known) == (truth(COUNT), names(COUNT))
