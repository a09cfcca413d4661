"""The user's YOLO folders: what is read, what is corrected, and what is refused with file and line."""

import polars as pl
import pytest
from PIL import Image

from assay.datasets.fingerprints import source_digest, source_files
from assay.datasets.index import build_yolo
from assay.errors import DataError
from assay.images.decoding import read_mask
from assay.spec.generated_images import YoloSource

NAMES = "names: [cat, dog]\n"


def save(path, size=(40, 20), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    level = sum(map(ord, str(path.parent.name) + path.name)) % 200
    Image.new("RGB", size, (level, 90, 40)).save(path, **options)


def label(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def build(path, tmp_path, **keys):
    folder = tmp_path / "result"
    folder.mkdir()
    report = build_yolo(YoloSource(path=str(path), **keys), 0, folder)
    return report, pl.read_parquet(folder / "items.parquet"), pl.read_parquet(folder / "objects.parquet"), folder


def refused(path, tmp_path, **keys):
    with pytest.raises(DataError) as caught:
        build(path, tmp_path, **keys)
    assert not list((tmp_path / "result").iterdir()), "nothing may be computed"
    return str(caught.value)


@pytest.fixture
def root(tmp_path):
    """A folder with data.yaml, one image in train, one in val."""
    root = tmp_path / "data"
    for subset in ("train", "val"):
        save(root / "images" / subset / "a.png")
        label(root / "labels" / subset / "a.txt", "1 0.5 0.5 0.25 0.5")
    (root / "data.yaml").write_text(NAMES + "nc: 2\ntrain: images/train\nval: images/val\n")
    return root


def boxes_of(objects):
    return objects.select("item", "label", "x_px", "y_px", "width_px", "height_px").rows()


def test_lines_become_boxes_and_subsets_are_kept(root, tmp_path):
    report, items, objects, folder = build(root, tmp_path)
    assert items.select("item", "given_subset", "labelled").rows() == [
        ("images/train/a.png", "train", True),
        ("images/val/a.png", "validation", True),
    ]
    assert boxes_of(objects) == [(f"images/{subset}/a.png", "dog", 15, 5, 10, 10) for subset in ("train", "val")]
    assert (report["labels"], report["given_subsets"]) == ({"cat": 0, "dog": 2}, {"train": 1, "validation": 1})
    assert (folder / "pictures" / "samples.png").exists()
    assert not objects["crowd"].any()


@pytest.mark.parametrize(
    "text",
    [
        "names: {0: cat, 1: dog}\ntrain: images/train\nval: images/val\n",
        "names: [cat, dog]\ntrain: [images/train]\nval: [./images/val]\ntest:\n",
        "names: [cat, dog]\npath: .\ntrain: images/train\nval: images/val\n",
        "names: [cat, dog]\npath: ROOT\ntrain: ROOT/images/train\nval: images/val\n",
        "names: [cat, dog]\ntrain: ../images/train\nval: ../images/val\n",
        "names: [cat, dog]\ntrain: train.txt\nval: images/val\n",
    ],
)
def test_data_yaml_may_be_written_in_many_ways(root, tmp_path, text):
    (root / "data.yaml").write_text(text.replace("ROOT", str(root)))
    (root / "train.txt").write_text("./images/train/a.png\n\n")
    _, items, objects, _ = build(root, tmp_path)
    assert items["given_subset"].to_list() == ["train", "validation"]
    assert objects["label"].to_list() == ["dog", "dog"]


def test_the_yaml_file_itself_can_be_the_path(root, tmp_path):
    (root / "data.yaml").rename(root / "mine.yml")
    assert len(build(root / "mine.yml", tmp_path)[1]) == 2


def test_without_data_yaml_the_names_are_in_classes_txt(root, tmp_path):
    (root / "data.yaml").unlink()
    (root / "classes.txt").write_text("cat\ndog\n")
    _, items, objects, _ = build(root, tmp_path)
    assert items["given_subset"].to_list() == ["train", "validation"]
    assert objects["label"].to_list() == ["dog", "dog"]


def test_labels_may_lie_beside_the_images(tmp_path):
    save(tmp_path / "data" / "a.png")
    label(tmp_path / "data" / "a.txt", "0 0.5 0.5 1 1")
    (tmp_path / "data" / "classes.txt").write_text("cat\n")
    _, items, objects, _ = build(tmp_path / "data", tmp_path)
    assert items["given_subset"].null_count() == 1
    assert boxes_of(objects) == [("a.png", "cat", 0, 0, 40, 20)]


@pytest.mark.parametrize(
    ("has_classes", "message"),
    [
        (False, r"holds neither data.yaml nor .* boxes of Pascal VOC are not read; save them as YOLO"),
        (True, r"a.xml: 1 image has an .xml file but no label file: boxes of Pascal VOC are not read"),
    ],
)
def test_boxes_of_pascal_voc_are_no_images_without_objects(tmp_path, has_classes, message):
    for name in ("a", "b"):
        save(tmp_path / "data" / f"{name}.png")
    label(tmp_path / "data" / "b.txt", "0 0.5 0.5 1 1")
    (tmp_path / "data" / "a.xml").write_text("<annotation><object/></annotation>")
    if has_classes:
        (tmp_path / "data" / "classes.txt").write_text("cat\n")
    with pytest.raises(DataError, match=message):
        build(tmp_path / "data", tmp_path)


def test_subsets_with_folders_of_their_own_are_found(tmp_path):
    for subset in ("train", "valid"):
        save(tmp_path / "data" / subset / "images" / f"{subset}.jpg")
        label(tmp_path / "data" / subset / "labels" / f"{subset}.txt", "0 0.5 0.5 1 1")
    (tmp_path / "data" / "data.yaml").write_text(NAMES + "train: ../train/images\nval: ../valid/images\n")
    _, items, objects, _ = build(tmp_path / "data", tmp_path)
    assert items["given_subset"].to_list() == ["train", "validation"]
    assert len(objects) == 2


def test_a_missing_or_empty_label_file_means_an_empty_image(root, tmp_path):
    (root / "labels" / "train" / "a.txt").unlink()
    (root / "labels" / "val" / "a.txt").write_text("\n")
    report, items, objects, _ = build(root, tmp_path)
    assert (report["empty_images"], report["images_without_label_file"], len(objects)) == (2, 1, 0)
    assert items["labelled"].all()


def test_a_repeated_line_counts_once(root, tmp_path):
    label(root / "labels" / "train" / "a.txt", "1 0.5 0.5 0.25 0.5", "1  0.5 0.5 0.25 0.5")
    report, _, objects, _ = build(root, tmp_path)
    assert (len(objects), report["duplicates_left_out"]) == (2, 1)


def test_a_box_slightly_outside_is_clipped_and_counted(root, tmp_path):
    label(root / "labels" / "train" / "a.txt", "0 0.1 0.5 0.27 1.0")
    report, _, objects, _ = build(root, tmp_path)
    assert boxes_of(objects)[0][2:] == (0, 0, 9, 20)
    assert report["boxes_clipped"] == 1


def test_a_polygon_gives_its_box_and_is_drawn_in_the_mask(root, tmp_path):
    label(root / "labels" / "train" / "a.txt", "1 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75")
    report, items, objects, folder = build(root, tmp_path)
    assert boxes_of(objects)[0] == ("images/train/a.png", "dog", 10, 5, 20, 10)
    mask = read_mask((folder / items["mask"][0]).read_bytes())
    assert (mask[5:15, 10:30] == 2).all()
    assert mask.sum() == 2 * 200
    assert report["mask_root"] == "."


BAD = [
    ("2 0.5 0.5 0.1 0.1", "class 2 does not exist; expected a whole number from 0 to 1"),
    ("-1 0.5 0.5 0.1 0.1", "class -1 does not exist"),
    ("0.5 0.5 0.5 0.1 0.1", "class 0.5 does not exist"),
    ("dog 0.5 0.5 0.1 0.1", "'dog' is no number"),
    ("0 0.5 nan 0.1 0.1", "'nan' is no finite number"),
    ("0 0.5 0.5 0.1", "has 4 values; expected 5 (class, centre x"),
    ("0 0.5 0.5 0.1 0.1 0.9", "has 6 values"),
    ("0 0.1 0.1 0.2 0.1 0.2 0.2 0.3", "has 8 values"),
    ("0 0.5 0.5 0 0.1", "has no area"),
    ("0 0.5 0.5 -0.1 0.1", "has no area"),
    ("0 20 10 5 5", "holds 20; expected shares of the image's sides from 0 to 1, not pixels"),
    ("0 1.2 0.5 0.1 0.1", "reaches from 0.45 to 1.25; expected 0 to 1"),
    ("0,0.5,0.5,0.1,0.1", "is no number"),
]


def test_all_bad_lines_are_reported_at_once_with_file_and_line(root, tmp_path):
    label(root / "labels" / "train" / "a.txt", "1 0.5 0.5 0.25 0.5", "", *(line for line, _ in BAD))
    message = refused(root, tmp_path)
    assert f"{len(BAD)} problems" in message
    for number, (_, reason) in enumerate(BAD, 3):
        line = next(line for line in message.splitlines() if f"labels/train/a.txt:{number}: " in line)
        assert reason in line


def test_bad_lines_can_be_left_out_and_are_reported(root, tmp_path):
    label(root / "labels" / "train" / "a.txt", *(line for line, _ in BAD))
    report, _, objects, _ = build(root, tmp_path, bad_annotations="leave_out")
    assert (len(objects), report["left_out"]) == (1, len(BAD))


def test_label_files_without_an_image_and_images_with_one_label_file_are_named(root, tmp_path):
    label(root / "labels" / "train" / "gone.txt", "0 0.5 0.5 0.1 0.1")
    save(root / "images" / "val" / "a.jpg")
    message = refused(root, tmp_path)
    assert "labels/train/gone.txt: there is no image of that name" in message
    assert "has the same label file as images/val/a." in message


def test_a_label_file_that_is_not_text_is_named(root, tmp_path):
    (root / "labels" / "train" / "a.txt").write_bytes(b"\xff\xfe0 0.5")
    assert "labels/train/a.txt: can't be read as text" in refused(root, tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("names: [cat, dog]\nnc: 3\ntrain: images/train\n", "nc is 3, but names holds 2 classes"),
        ("names: [cat, cat]\ntrain: images/train\n", "class 'cat' is named twice"),
        ("names: {1: cat, 2: dog}\ntrain: images/train\n", "names has the keys 1, 2; expected 0, 1, 2"),
        ("train: images/train\n", "names is None; expected a list of class names"),
        ("names: [cat, dog]\ntrain: images/trian\n", "train: 'images/trian' does not exist"),
        ("names: [cat, dog]\n", "has neither train nor val nor test"),
        ("names: [cat, dog\n", "is not valid YAML"),
        ("names: [cat, dog]\ntrain: gone.txt\nval: images/val\n", "train: 'gone.txt' does not exist"),
    ],
)
def test_an_invalid_data_yaml_is_reported_with_its_key(root, tmp_path, text, reason):
    (root / "data.yaml").write_text(text)
    assert reason in refused(root, tmp_path)


def test_without_names_of_classes_the_way_out_is_named(root, tmp_path):
    (root / "data.yaml").unlink()
    assert "holds neither data.yaml nor classes.txt" in refused(root, tmp_path)


def test_an_image_in_two_subsets_is_refused_but_not_where_all_are(root, tmp_path):
    (root / "data.yaml").write_text(NAMES + "train: images\nval: images/val\n")
    assert "images/val/a.png: is in train and in validation; keep it in one" in refused(root, tmp_path)
    (tmp_path / "result").rmdir()
    (root / "data.yaml").write_text(NAMES + "train: images\nval: images\n")
    _, items, _, _ = build(root, tmp_path)
    assert items["given_subset"].null_count() == 2


def test_images_that_a_list_names_must_exist(root, tmp_path):
    (root / "data.yaml").write_text(NAMES + "train: train.txt\nval: images/val\n")
    (root / "train.txt").write_text("images/train/a.png\nimages/train/b.png\n")
    assert "images/train/b.png: does not exist" in refused(root, tmp_path)


def test_shares_refer_to_the_upright_image(root, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root / "images" / "train" / "a.png", (40, 20), exif=exif)
    label(root / "labels" / "train" / "a.txt", "0 0.5 0.25 1 0.5")
    _, items, objects, _ = build(root, tmp_path)
    assert items.select("width_px", "height_px").row(0) == (20, 40)
    assert boxes_of(objects)[0][2:] == (0, 0, 20, 20)


@pytest.mark.parametrize("names", [("Training", "Testing"), ("train_set", "test-set"), ("train", "Testing")])
def test_folders_named_like_subsets_in_other_words_are_subsets(tmp_path, names):
    root = tmp_path / "data"
    for name in names:
        save(root / name / "images" / "a.png")
        label(root / name / "labels" / "a.txt", "1 0.5 0.5 0.25 0.5")
    (root / "classes.txt").write_text("cat\ndog\n")
    items = build(root, tmp_path)[1]
    assert set(items.select("item", "given_subset").rows()) == {
        (f"{names[0]}/images/a.png", "train"),
        (f"{names[1]}/images/a.png", "test"),
    }


def test_a_sentence_says_that_no_image_has_an_object(root, tmp_path):
    for subset in ("train", "val"):
        (root / "labels" / subset / "a.txt").write_text("")
    assert build(root, tmp_path)[0]["warnings"] == ["no object in any of 2 images, which all count as empty"]


def test_names_of_classes_that_look_alike_are_told(root, tmp_path):
    (root / "data.yaml").write_text("names: [cat, Cat]\ntrain: images/train\nval: images/val\n")
    assert "'cat' and 'Cat' differ only" in build(root, tmp_path)[0]["warnings"][0]


DARKNET = "classes = 2\ntrain = data/train.txt\nvalid = data/valid.txt\nnames = data/obj.names\nbackup = backup/\n"


@pytest.fixture
def darknet(tmp_path):
    """A folder as Darknet has it, whose lists call it otherwise: obj.data, obj.names, lists, a folder of images."""
    root = tmp_path / "darknet"
    save(root / "obj" / "a.JPG", format="JPEG")
    save(root / "obj" / "b.jpg", format="JPEG")
    label(root / "obj" / "a.TXT", "1 0.5 0.5 0.25 0.5")
    label(root / "obj" / "b.txt", "0 0.5 0.5 0.25 0.5")
    (root / "obj.names").write_text("cat\ndog\n\n")
    (root / "obj.data").write_text(DARKNET)
    label(root / "train.txt", "data/obj/a.JPG")
    label(root / "valid.txt", "data/obj/b.jpg")
    return root


def labels_and_subsets(path, tmp_path, **keys):
    _, items, objects, _ = build(path, tmp_path, **keys)
    joined = items.join(objects.select("item", object="label"), on="item", how="left")
    return sorted(joined.select("item", "given_subset", "object").rows())


DIVIDED = [("obj/a.JPG", "train", "dog"), ("obj/b.jpg", "validation", "cat")]


@pytest.mark.parametrize("config", ["", "obj.data"])
@pytest.mark.parametrize("prefix", ["data/", "", "/content/darknet/data/", "C:\\yolo\\", "./"])
def test_the_files_of_darknet_are_read(darknet, tmp_path, config, prefix):
    for name in ("train", "valid"):
        text = (darknet / f"{name}.txt").read_text()
        (darknet / f"{name}.txt").write_text(text.replace("data/", prefix))
    assert labels_and_subsets(darknet / config, tmp_path) == DIVIDED


def test_paths_of_darknet_may_be_relative_to_where_it_is_started(darknet, tmp_path):
    darknet.rename(tmp_path / "data")
    assert labels_and_subsets(tmp_path / "data" / "obj.data", tmp_path) == DIVIDED


@pytest.mark.parametrize("names", ["obj.names", "OBJ.NAMES", "coco.names", "_darknet.labels", "Classes.TXT"])
def test_classes_may_be_in_a_file_of_another_name(darknet, tmp_path, names):
    (darknet / "obj.data").unlink()
    (darknet / "obj.names").rename(darknet / names)
    assert labels_and_subsets(darknet, tmp_path) == [(item, None, label) for item, _, label in DIVIDED]


def test_classes_of_each_subset_must_be_the_same(darknet, tmp_path):
    (darknet / "obj.data").unlink()
    (darknet / "obj.names").unlink()
    for subset, name in (("train", "a"), ("valid", "b")):
        (darknet / subset).mkdir()
        for file in (darknet / "obj").glob(f"{name}.*"):
            file.rename(darknet / subset / file.name)
        (darknet / subset / "_darknet.labels").write_text("cat\ndog\n")
    expected = [("train/a.JPG", "train", "dog"), ("valid/b.jpg", "validation", "cat")]
    assert labels_and_subsets(darknet, tmp_path) == expected
    (darknet / "valid" / "_darknet.labels").write_text("dog\ncat\n")
    (tmp_path / "result").rename(tmp_path / "first")
    assert "_darknet.labels, valid/_darknet.labels name different classes" in refused(darknet, tmp_path)


def test_two_files_of_classes_must_say_the_same(darknet, tmp_path):
    (darknet / "classes.txt").write_text("dog\ncat\n")
    assert "classes.txt, obj.names name different classes, or in another order" in refused(darknet, tmp_path)


def test_one_list_of_darknet_divides_nothing(darknet, tmp_path):
    (darknet / "obj.data").write_text(DARKNET.replace("valid = data/valid.txt\n", ""))
    label(darknet / "train.txt", "data/obj/a.JPG", "data/obj/b.jpg")
    assert labels_and_subsets(darknet, tmp_path) == [(item, None, label) for item, _, label in DIVIDED]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("classes = 2", "classes = 80", "obj.data: classes is 80, but obj.names holds 2"),
        ("data/obj.names", "data/obj.nams", "obj.data: names: 'data/obj.nams' does not exist"),
        ("data/valid.txt", "data/test.txt", "obj.data: valid: 'data/test.txt' does not exist"),
    ],
)
def test_what_darknet_says_must_be_there(darknet, tmp_path, old, new, message):
    (darknet / "obj.data").write_text(DARKNET.replace(old, new))
    assert message in refused(darknet, tmp_path)


def test_a_name_alone_is_no_path_of_another_machine(darknet, tmp_path):
    label(darknet / "valid.txt", "data/obj/c.jpg")
    save(darknet / "c.jpg", format="JPEG")
    assert "c.jpg: does not exist" in refused(darknet, tmp_path)


def test_two_label_files_that_differ_in_the_case_of_their_ending_are_refused(darknet, tmp_path):
    for name in ("obj.data", "train.txt", "valid.txt"):
        (darknet / name).unlink()
    (darknet / "obj").rename(darknet / "images")
    label(darknet / "labels" / "a.txt", "1 0.5 0.5 0.25 0.5")
    label(darknet / "labels" / "a.TXT", "0 0.5 0.5 0.25 0.5")
    assert "labels/a.TXT: there is no image of that name" in refused(darknet, tmp_path)


def test_the_classes_of_darknet_are_part_of_the_data(darknet):
    source = YoloSource(path=str(darknet))
    before = source_digest(source)
    (darknet / "obj.names").write_text("cat\nfox\n")
    assert source_digest(source) != before
    assert darknet / "obj" / "a.TXT" in source_files(source).values()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("0 cat\n1 dog\n", "begin with their numbers, such as '0 cat'"),
        ("0: cat\n1: dog\n", "begin with their numbers, such as '0: cat'"),
        ("cat, dog\n", "there is one class, called 'cat, dog'"),
        ("0\n1\n", None),
        ("cat\n1 dog\n", None),
        ("traffic light\n2-wheeler\n", None),
    ],
)
def test_names_that_are_written_in_another_way_are_told(tmp_path, names, told):
    save(tmp_path / "data" / "images" / "a.png")
    label(tmp_path / "data" / "labels" / "a.txt", "0 0.5 0.5 0.25 0.5")
    (tmp_path / "data" / "classes.txt").write_text(names)
    warnings = build(tmp_path / "data", tmp_path)[0]["warnings"]
    assert [told in warning for warning in warnings] == [True] if told else warnings == []
