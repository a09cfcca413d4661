"""Which folders are subsets, which are classes, and which only wraps the others."""

import itertools

import pytest
from PIL import Image

from assay.datasets.fingerprints import source_digest
from assay.datasets.image_folder import read_layout
from assay.errors import DataError
from assay.spec.generated_images import ImageFolderSource


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


def save(root, *names):
    for level, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 9 * level).save(root / name, format="PNG")


def found(root, **keys):
    """Return label and subset of each image."""
    layout = read_layout(root, ImageFolderSource(path=str(root), **keys))
    assert layout.problems == ()
    return {image.item: (image.label, image.given_subset) for image in layout.images}


def refused(root, **keys):
    with pytest.raises(DataError) as caught:
        read_layout(root, ImageFolderSource(path=str(root), **keys))
    return str(caught.value)


TRAINS = ("train", "Training", "TRAIN", "train_images", "seg_train", "Train Set", "trainset")
OTHERS = {
    "validation": ("valid", "VAL", "dev", "Eval", "evaluation", "validation-set", "valdata"),
    "test": ("Testing", "tests", "holdout", "Hold-Out", "hold_out", "seg_test", "images_test"),
}


@pytest.mark.parametrize(("train", "validation", "test"), list(zip(TRAINS, *OTHERS.values(), strict=True)))
def test_folders_of_any_usual_name_and_case_are_subsets(root, train, validation, test):
    names = {"train": train, "validation": validation, "test": test}
    save(root, *(f"{name}/{label}/1.png" for name in names.values() for label in ("cat", "dog")))
    expected = {f"{name}/{label}/1.png": (label, subset) for subset, name in names.items() for label in ("cat", "dog")}
    assert found(root) == expected


@pytest.mark.parametrize("other", [*itertools.chain(*OTHERS.values())])
def test_any_mixture_of_names_is_a_division(root, other):
    save(root, "Training/a/1.png", f"{other}/a/1.png")
    assert {label for label, _ in found(root).values()} == {"a"}


@pytest.mark.parametrize(
    "names", [("train1", "train2"), ("cat", "dog"), ("training_shoes", "test_tube"), ("train", "bus")]
)
def test_names_that_are_no_subsets_are_classes(root, names):
    save(root, *(f"{name}/1.png" for name in names))
    assert {label for label, _ in found(root).values()} == set(names)


@pytest.mark.parametrize("tops", [("part1", "part2"), ("a", "b", "c"), ("train", "extra"), ("2019", "2020")])
def test_the_same_folders_in_each_folder_are_asked_about(root, tops):
    save(root, *(f"{top}/{label}/1.png" for top in tops for label in ("cat", "dog")))
    message = refused(root)
    assert f"{', '.join(sorted(tops))} hold folders themselves, such as cat, dog in '{sorted(tops)[0]}'" in message
    assert "set source.subset_folders: never" in message
    assert {label for label, _ in found(root, subset_folders="never").values()} == set(tops)


def test_subsets_without_train_are_asked_about(root):
    save(root, "val/cat/1.png", "test/dog/1.png")
    assert "source.subset_folders: always" in refused(root)
    read = read_layout(root, ImageFolderSource(path=str(root), subset_folders="always"))
    assert {image.given_subset for image in read.images} == {"validation", "test"}


@pytest.mark.parametrize(
    "names",
    [
        ("cat/images/1.png", "dog/images/1.png"),
        ("cat/train/1.png", "cat/test/1.png", "dog/train/1.png", "dog/test/1.png"),
        ("cat/2019/1.png", "cat/1.png", "dog/2019/1.png"),
        ("cat/a/1.png", "dog/b/1.png"),
    ],
)
def test_classes_may_hold_folders_of_their_own(root, names):
    save(root, *names)
    assert {label for label, _ in found(root).values()} == {"cat", "dog"}


def test_subsets_within_classes_are_told(root):
    save(root, "cat/train/1.png", "cat/test/2.png", "dog/train/3.png")
    (warning,) = read_layout(root, ImageFolderSource(path=str(root))).warnings
    assert "named like subsets, but don't count as such" in warning


def test_subsets_that_hold_images_are_asked_about(root):
    save(root, "Training/1.png", "Testing/1.png")
    assert "named like subsets, but hold images instead of class folders" in refused(root)
    assert {label for label, _ in found(root, subset_folders="never").values()} == {"Training", "Testing"}


def test_one_folder_within_each_subset_is_refused(root):
    tops = ("seg_train", "seg_test")
    save(root, *(f"{top}/images/{label}/1.png" for top in tops for label in "ab"))
    assert "seg_test/images, seg_train/images: one folder each instead of class folders" in refused(root)


@pytest.mark.parametrize("inner", [("seg_train", "seg_test"), ("Training", "test")])
def test_a_folder_of_the_same_name_within_each_subset_only_wraps_its_classes(root, inner):
    tops = ("seg_train", "seg_test")
    save(root, *(f"{top}/{name}/{label}/1.png" for top, name in zip(tops, inner, strict=True) for label in "ab"))
    assert set(found(root).values()) == {(label, subset) for label in "ab" for subset in ("train", "test")}
    warnings = read_layout(root, ImageFolderSource(path=str(root))).warnings
    assert any("one folder of its own name" in warning for warning in warnings)


@pytest.mark.parametrize(
    "names", [("train/train/1.png", "test/test/1.png"), ("train/train/1.png", "test/test/a/1.png")]
)
def test_a_folder_of_the_same_name_that_holds_images_is_refused(root, names):
    save(root, *names)
    assert "one folder each instead of class folders" in refused(root)


@pytest.mark.parametrize("wrapper", ["train", "Training", "test", "train_data", "archive/val", "train/train"])
@pytest.mark.parametrize("inner", [("train",), ("train", "test"), ("Training", "valid", "Testing")])
def test_a_folder_around_subsets_may_be_named_like_a_subset(root, wrapper, inner):
    save(root, *(f"{wrapper}/{subset}/{label}/1.png" for subset in inner for label in ("cat", "dog")))
    assert {label for label, _ in found(root).values()} == {"cat", "dog"}
    assert len({subset for _, subset in found(root).values()}) == len(inner)
    assert f"everything lies in {wrapper!r}" in read_layout(root, ImageFolderSource(path=str(root))).warnings[0]


def test_subsets_without_classes_in_a_subset_are_asked_about(root):
    save(root, "train/train/1.png", "train/test/1.png")
    assert "are these subsets or classes?" in refused(root)
    always = read_layout(root, ImageFolderSource(path=str(root), subset_folders="always"))
    assert {(image.label, image.given_subset) for image in always.images} == {("train", "train"), ("test", "train")}


def test_a_class_named_like_a_subset_may_be_one_of_several(root):
    save(root, "train/train/1.png", "train/bus/1.png", "test/train/1.png", "test/bus/1.png")
    assert {label for label, _ in found(root).values()} == {"train", "bus"}


def test_a_class_that_is_named_train_is_told(root):
    save(root, "train/1.png", "bus/1.png")
    (warning,) = read_layout(root, ImageFolderSource(path=str(root))).warnings
    assert "the folder 'train' is taken for a class" in warning
    assert read_layout(root, ImageFolderSource(path=str(root), subset_folders="never")).warnings == ()


def test_one_class_within_each_subset_is_a_class(root):
    save(root, "train/cat/1.png", "test/cat/deep/2.png")
    assert {label for label, _ in found(root).values()} == {"cat"}


@pytest.mark.parametrize("wrapper", ["archive", "data set/images", "a/b/c"])
@pytest.mark.parametrize("inner", ["", "Training/"])
def test_a_folder_around_everything_is_looked_into(root, wrapper, inner):
    save(root, f"{wrapper}/{inner}cat/1.png", f"{wrapper}/{inner}dog/1.png")
    (root / "README.txt").write_text("hello")
    layout = read_layout(root, ImageFolderSource(path=str(root)))
    assert layout.base == root / wrapper
    assert [(image.item, image.label) for image in layout.images] == [
        (f"{inner}cat/1.png", "cat"),
        (f"{inner}dog/1.png", "dog"),
    ]
    assert f"everything lies in {wrapper!r}" in layout.warnings[0]


def test_one_class_is_no_folder_around_everything(root):
    save(root, "cat/1.png", "cat/deep/2.png")
    assert {label for label, _ in found(root).values()} == {"cat"}


def digests(root):
    source = ImageFolderSource(path=str(root))
    return source_digest(source), source_digest(source.model_copy(update={"subset_folders": "never"}))


def test_a_result_of_the_former_reading_is_not_found_for_the_new_one(root):
    save(root, "Training/a/1.png", "Training/b/2.png", "Testing/a/3.png")
    new, former = digests(root)
    assert new != former


@pytest.mark.parametrize(
    "names", [("train/a/1.png", "val/a/2.png"), ("cat/1.png", "dog/x/1.png"), ("a/b/1.png", "c/b/2.png")]
)
def test_what_was_read_rightly_keeps_its_hash(root, names):
    save(root, *names)
    now, former = digests(root)
    assert now == former
