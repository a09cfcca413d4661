"""The stage ``splits``: groups, given subsets, links, and divisions that are refused."""

import os

import polars as pl
import pytest

from assay.datasets.schema import (
    IMAGE_ITEM_COLUMNS,
    MASK_CLASS_COLUMNS,
    OBJECT_COLUMNS,
    ROW_ITEM_COLUMNS,
    mask_root_of,
    root_of,
)
from assay.errors import DataError
from assay.spec.splits import SplitsSection
from assay.stages.split_rules import name_group
from assay.stages.splits import build_splits
from assay.storage.files import write_json
from assay.storage.parquet import read_parquet, write_parquet


def index_images(folder, names, **columns):
    """Write a source of images that are files of a few bytes; ``columns`` replace those of the index."""
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    rows = {
        "item": names,
        "file": names,
        "mask": [None] * len(names),
        "width_px": [4] * len(names),
        "height_px": [4] * len(names),
        "sha256": [f"hash of {name}" for name in names],
        "pixels": [f"pixels of {name}" for name in names],
        "thumbnail": [name.encode() for name in names],
        "label": [name.split("/")[0] if "/" in name else None for name in names],
        "labelled": [True] * len(names),
        "folder": [name.rpartition("/")[0] for name in names],
        "background": [None] * len(names),
        "given_subset": [None] * len(names),
    }
    write_parquet(pl.DataFrame({**rows, **columns}, schema=dict(IMAGE_ITEM_COLUMNS)), folder / "items.parquet")
    write_parquet(pl.DataFrame(schema=dict(OBJECT_COLUMNS)), folder / "objects.parquet")
    return folder


@pytest.fixture
def divide(tmp_path):
    def divide(source, seed=42, result="splits", **keys):
        folder = tmp_path / result
        folder.mkdir()
        report = build_splits(source, SplitsSection.model_validate(keys), seed, folder)
        write_json(folder / "report.json", report)
        return report, read_parquet(folder / "items.parquet"), folder

    return divide


def names_of(count, pattern="{:03d}.png"):
    return [pattern.format(index) for index in range(count)]


def subsets_of(items):
    return dict(items.select("item", "subset").iter_rows())


def refused(divide, *arguments, **keys):
    with pytest.raises(DataError) as caught:
        divide(*arguments, **keys)
    return str(caught.value)


def test_every_file_is_linked_into_its_subset_and_not_copied(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(20))
    report, items, folder = divide(source)
    assert report["items_per_subset"] == {"train": 14, "validation": 2, "test": 4}
    for item, file, subset in items.select("item", "file", "subset").iter_rows():
        assert file == f"{subset}/{item}"
        assert (folder / file).samefile(source / item)
    assert report["root"] == "."


def test_files_are_referred_to_where_links_cannot_be_made(divide, tmp_path, monkeypatch):
    source = index_images(tmp_path / "source", names_of(20))
    made = []

    def one_link_and_no_more(one, other):
        if made:
            raise OSError(18, "Invalid cross-device link")
        made.append(one)

    monkeypatch.setattr(os, "link", one_link_and_no_more)
    report, items, folder = divide(source)
    assert report["root"] == str(source)
    assert {path.name for path in folder.iterdir()} == {"items.parquet", "objects.parquet", "report.json"}
    assert all((root_of(folder) / file).read_text() == file for file in items["file"])


def test_a_file_without_an_ending_in_its_item_gets_that_of_its_file(divide, tmp_path):
    names = names_of(20)
    source = index_images(tmp_path / "source", names, item=[name.removesuffix(".png") for name in names])
    _, items, _ = divide(source, sub_dir="pictures/small")
    assert items.filter(pl.col("item") == "003")["file"][0].endswith("/pictures/small/003.png")


def with_masks(source, names, mask_root="."):
    """Give every other image of a source a mask below its own root."""
    items = read_parquet(source / "items.parquet")
    masks = [f"{name}.mask.png" if index % 2 else None for index, name in enumerate(names)]
    for name in filter(None, masks):
        (source / mask_root / name).parent.mkdir(parents=True, exist_ok=True)
        (source / mask_root / name).write_text(f"mask {name}")
    write_parquet(items.with_columns(pl.Series("mask", masks)), source / "items.parquet")
    write_json(source / "report.json", {"root": ".", "mask_root": mask_root})
    classes = pl.DataFrame([(1, "cat", "class")], schema=dict(MASK_CLASS_COLUMNS), orient="row")
    write_parquet(classes, source / "mask_classes.parquet")
    return dict(zip(names, masks, strict=True))


@pytest.mark.parametrize("mask_root", [".", "drawn"])
def test_masks_are_linked_beside_the_subsets(divide, tmp_path, mask_root):
    names = names_of(20, "a/{}.jpg")
    source = index_images(tmp_path / "source", names)
    masks = with_masks(source, names, mask_root)
    report, items, folder = divide(source)
    assert (report["root"], mask_root_of(folder)) == (".", folder)
    for item, mask, subset in items.select("item", "mask", "subset").iter_rows():
        assert mask == (f"masks/{subset}/{item}.png" if masks[item] else None)
        assert mask is None or (folder / mask).samefile(source / mask_root / masks[item])
    assert read_parquet(folder / "mask_classes.parquet")["label"].to_list() == ["cat"]


def test_masks_are_referred_to_where_links_cannot_be_made(divide, tmp_path, monkeypatch):
    names = names_of(20)
    source = index_images(tmp_path / "source", names)
    masks = with_masks(source, names, "drawn")

    def no_link(one, other):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    _, items, folder = divide(source)
    assert dict(items.select("item", "mask").iter_rows()) == masks
    assert mask_root_of(folder) == source / "drawn"
    assert root_of(folder) == source


def test_given_subsets_of_images_that_lie_elsewhere_keep_their_folders(divide, tmp_path):
    names = [f"2017/{index}.jpg" for index in range(9)]
    subsets = ["train", "validation", "test"] * 3
    source = index_images(tmp_path / "source", names, given_subset=subsets, label=["cat"] * 9)
    _, items, _ = divide(source)
    assert all(file == f"{subset}/{item}" for item, file, subset in items.select("item", "file", "subset").iter_rows())


def test_files_that_are_gone_are_named(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(20))
    (source / "007.png").unlink()
    assert "007.png" in refused(divide, source)


def test_equal_spec_and_seed_give_equal_bytes_and_another_seed_does_not(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(30))
    folders = [divide(source, seed, result=f"r{number}")[2] for number, seed in enumerate([1, 1, 2])]
    one, same, other = ((folder / "items.parquet").read_bytes() for folder in folders)
    assert one == same != other


@pytest.mark.defect("C1")
@pytest.mark.parametrize("pattern", ["IMG_{:04d}.PNG", "ÄÖ ß {}.png", "図{}.png", "--{}--.png", "a/b/c {}.png"])
def test_any_file_name_is_divided(divide, tmp_path, pattern):
    report, _, _ = divide(index_images(tmp_path / "source", names_of(30, pattern)))
    assert report["items_per_subset"] == {"train": 21, "validation": 3, "test": 6}


@pytest.mark.defect("C1")
def test_names_without_any_digit_or_small_letter_are_divided(divide, tmp_path):
    names = [f"{first}_{second}.PNG" for first in "ÄBÇДE図" for second in "GHIJK"]
    report, _, _ = divide(index_images(tmp_path / "source", names))
    assert report["items_per_subset"] == {"train": 21, "validation": 3, "test": 6}


@pytest.mark.defect("C1")
def test_names_that_differ_in_upper_case_only_go_their_own_ways(divide, tmp_path):
    names = [f"{name}.png" for index in range(30) for name in (f"a{index}", f"A{index}")]
    _, items, _ = divide(index_images(tmp_path / "source", names))
    subsets = subsets_of(items)
    assert any(subsets[f"a{index}.png"] != subsets[f"A{index}.png"] for index in range(30))


@pytest.mark.defect("C2")
def test_files_with_a_shared_prefix_are_divided_unless_groups_are_asked_for(divide, tmp_path):
    report, _, _ = divide(index_images(tmp_path / "source", names_of(100, "img_{:04d}.png")))
    assert report["items_per_subset"] == {"train": 70, "validation": 10, "test": 20}


@pytest.mark.defect("C2")
def test_one_group_of_all_files_is_refused_and_named(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(100, "img_{:04d}.png"))
    message = refused(divide, source, name_delimiter="_")
    assert "would be empty" in message
    assert "in 1 group kept together, the largest ('img') with 100 of them" in message
    assert "splits.max_split" in message


@pytest.mark.defect("C2")
def test_shares_far_from_the_requested_ones_are_reported(divide, tmp_path):
    names = [f"scan_{group}_{index}.png" for group in "abcd" for index in range(10)]
    report, items, _ = divide(
        index_images(tmp_path / "source", names),
        name_delimiter="_",
        max_split=2,
        set_infos=[{"set_name": "train", "probability": 0.6}, {"set_name": "test", "probability": 0.4}],
    )
    assert items.group_by("group").agg(pl.col("subset").n_unique())["subset"].to_list() == [1] * 4
    assert sorted(set(items["group"])) == ["scan_a", "scan_b", "scan_c", "scan_d"]
    assert any("wanted 60.0%" in line for line in report["warnings"])


@pytest.mark.parametrize(
    ("item", "delimiter", "parts", "group"),
    [
        ("scan_a_1.png", "_", 2, "scan_a"),
        ("left/scan_a_1.png", "_", 2, "scan_a"),
        ("single.png", "_", 1, "single"),
        ("a-b-c", "-", 9, "a-b-c"),
        ("p1__x.png", "__", 1, "p1"),
    ],
)
def test_the_group_is_the_beginning_of_the_name(item, delimiter, parts, group):
    assert name_group(item, delimiter, parts) == group


@pytest.mark.defect("C3")
@pytest.mark.parametrize("count", [2, 3, 4])
def test_an_empty_subset_is_refused_with_the_number_of_items_needed(divide, tmp_path, count):
    message = refused(divide, index_images(tmp_path / "source", names_of(count)))
    assert "validation would be empty" in message or "test would be empty" in message
    assert f"There are {count} items; at least 10 are needed for a probability of 0.1" in message


@pytest.mark.defect("C3")
def test_ten_items_are_enough(divide, tmp_path):
    report, _, _ = divide(index_images(tmp_path / "source", names_of(10)))
    assert report["items_per_subset"] == {"train": 7, "validation": 1, "test": 2}
    assert report["warnings"] == []


def test_groups_by_a_column_stay_together(divide, tmp_path):
    names = names_of(60)
    photos = [f"photo {index % 12}" for index in range(60)]
    _, items, _ = divide(index_images(tmp_path / "source", names, background=photos), group_key="background")
    assert items.group_by("background").agg(pl.col("subset").n_unique())["subset"].max() == 1
    assert items["group"].to_list() == items["background"].to_list()


def test_a_group_column_that_does_not_exist_is_named_with_the_nearest(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(20))
    assert "Column 'folders' does not exist. Did you mean 'folder'?" in refused(divide, source, group_key="folders")


def test_a_group_column_with_missing_values_is_refused(divide, tmp_path):
    photos = [None, *["a"] * 19]
    source = index_images(tmp_path / "source", names_of(20), background=photos)
    assert "missing for 1 of 20 items (the first: item" in refused(divide, source, group_key="background")


def test_hashes_and_thumbnails_of_images_are_passed_on(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(20))
    _, items, _ = divide(source)
    given = read_parquet(source / "items.parquet")
    assert items.select("item", "pixels", "thumbnail").equals(given.select("item", "pixels", "thumbnail"))


def test_equal_files_are_never_in_two_subsets(divide, tmp_path):
    hashes = [f"{index % 20}" for index in range(60)]
    _, items, _ = divide(index_images(tmp_path / "source", names_of(60), sha256=hashes))
    assert items.group_by("sha256").agg(pl.col("subset").n_unique())["subset"].max() == 1


def test_every_class_gets_its_shares_when_stratified(divide, tmp_path):
    names = [f"{label}/{index}.png" for label in ("cat", "dog") for index in range(20)]
    report, _, _ = divide(index_images(tmp_path / "source", names), stratify=True)
    assert report["labels_per_subset"] == {
        "train": {"cat": 14, "dog": 14},
        "validation": {"cat": 2, "dog": 2},
        "test": {"cat": 4, "dog": 4},
    }


def test_images_are_stratified_by_the_most_frequent_label_of_their_boxes(divide, tmp_path):
    names = names_of(40)
    source = index_images(tmp_path / "source", names)
    boxes = [
        {"item": name, "object": number, "label": label, "x_px": 0, "y_px": 0, "width_px": 1, "height_px": 1}
        for index, name in enumerate(names)
        for number, label in enumerate(["a", "b", "ab"[index % 2]])
    ]
    write_parquet(pl.DataFrame(boxes, schema=dict(OBJECT_COLUMNS)), source / "objects.parquet")
    _, items, folder = divide(source, stratify=True)
    odd = items.filter(pl.col("item").is_in(names[1::2]))["subset"]
    assert odd.value_counts(sort=True)["count"].to_list() == [14, 4, 2]
    objects = read_parquet(folder / "objects.parquet")
    assert objects.join(items, on="item").filter(pl.col("subset") != pl.col("subset_right")).is_empty()
    assert len(objects) == 120


def test_stratifying_without_classes_is_refused(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(20))
    assert "stratify is true, but the items have no classes" in refused(divide, source, stratify=True)


def test_a_class_that_only_other_subsets_hold_is_refused(divide, tmp_path):
    source = index_images(tmp_path / "source", [*names_of(40, "cat/{}.png"), "dog/1.png"])
    with pytest.raises(DataError, match=r"stratify(.|\n)*class 'dog' is in (test|validation) but not in train"):
        list(map(lambda seed: divide(source, seed, result=f"seed {seed}"), range(50)))


def given(names):
    return [name.split("/")[0] for name in names]


def test_subsets_that_the_data_come_with_are_kept(divide, tmp_path):
    names = [f"{subset}/cat/{index}.png" for subset in ("train", "validation", "test") for index in range(3)]
    source = index_images(tmp_path / "source", names, given_subset=given(names), label=["cat"] * 9)
    report, items, folder = divide(source)
    assert items["subset"].to_list() == items["given_subset"].to_list()
    assert (folder / "test" / "cat" / "0.png").exists()
    assert report["given_subsets_kept"]


def test_a_subset_that_the_data_lack_is_taken_from_their_train_part(divide, tmp_path):
    names = [f"{subset}/cat/{index}.png" for subset in ("train", "test") for index in range(16)]
    source = index_images(tmp_path / "source", names, given_subset=given(names), label=["cat"] * 32)
    report, items, _ = divide(source)
    assert report["items_per_subset"] == {"train": 14, "validation": 2, "test": 16}
    assert set(items.filter(pl.col("subset") == "test")["given_subset"]) == {"test"}


def test_given_subsets_can_be_divided_anew(divide, tmp_path):
    names = [f"{subset}/cat/{index}.png" for subset in ("train", "test") for index in range(20)]
    source = index_images(tmp_path / "source", names, given_subset=given(names), label=["cat"] * 40)
    report, _, folder = divide(source, use_given_subsets=False)
    assert report["items_per_subset"] == {"train": 28, "validation": 4, "test": 8}
    assert len(list(folder.rglob("*.png"))) == 40


def test_a_given_subset_that_the_spec_lacks_is_named(divide, tmp_path):
    names = [f"{subset}/cat/{index}.png" for subset in ("train", "test") for index in range(3)]
    source = index_images(tmp_path / "source", names, given_subset=given(names), label=["cat"] * 6)
    message = refused(divide, source, set_infos=[{"set_name": "train", "probability": 1.0}])
    assert "come with the subset test, but splits.set_infos has only train" in message


def test_files_below_the_class_folders_can_be_left_out(divide, tmp_path):
    names = [*names_of(20, "cat/{}.png"), *names_of(5, "cat/deep/{}.png")]
    report, items, _ = divide(index_images(tmp_path / "source", names), recursive=False)
    assert (len(items), report["left_out_nested"]) == (20, 5)


def index_rows(folder, labels, **columns):
    folder.mkdir()
    count = len(labels)
    rows = {
        "item": [f"{index:09d}" for index in range(count)],
        "sha256": [str(index) for index in range(count)],
        "label": labels,
        "given_subset": [None] * count,
        "given_group": [None] * count,
    }
    write_parquet(pl.DataFrame({**rows, **columns}, schema=dict(ROW_ITEM_COLUMNS)), folder / "items.parquet")
    return folder


def test_rows_of_a_table_are_divided_without_files(divide, tmp_path):
    report, items, folder = divide(index_rows(tmp_path / "source", [None] * 50))
    assert report["items_per_subset"] == {"train": 35, "validation": 5, "test": 10}
    assert "file" not in items.columns
    assert {path.name for path in folder.iterdir()} == {"items.parquet", "report.json"}


def test_rows_of_one_given_group_stay_together(divide, tmp_path):
    groups = [str(index % 15) for index in range(60)]
    _, items, _ = divide(index_rows(tmp_path / "source", [None] * 60, given_group=groups))
    assert items.group_by("given_group").agg(pl.col("subset").n_unique())["subset"].max() == 1


def test_whole_numbers_of_a_table_need_not_all_be_in_train(divide, tmp_path):
    report, _, _ = divide(index_rows(tmp_path / "source", [str(index) for index in range(40)]))
    assert report["items"] == 40


def folds_of(divide, source, count, **keys):
    """Divide a source by each fold; return the items' subsets, one mapping per fold."""
    places = [f"{source.name}-{fold}-of-{count}-{len(keys)}" for fold in range(count)]
    return [
        subsets_of(divide(source, result=place, folds=count, fold=fold, **keys)[1]) for fold, place in enumerate(places)
    ]


def items_tested(division):
    return {item for item, subset in division.items() if subset == "test"}


@pytest.mark.parametrize("count", [2, 5, 7, 23])
@pytest.mark.system
def test_the_test_folds_are_disjoint_and_together_the_whole(divide, tmp_path, count):
    names = names_of(23)
    divisions = folds_of(divide, index_images(tmp_path / "source", names), count)
    tested = [item for division in divisions for item in items_tested(division)]
    assert sorted(tested) == names
    assert {len(items_tested(division)) for division in divisions} <= {23 // count, -(-23 // count)}
    assert all(set(division.values()) == {"train", "validation", "test"} for division in divisions if count > 2)


@pytest.mark.system
def test_the_rest_of_a_fold_is_divided_in_proportion_and_every_item_is_learned_from(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(100))
    report, _, _ = divide(source, folds=5, fold=3)
    assert report["items_per_subset"] == {"train": 70, "validation": 10, "test": 20}
    assert report["wanted_per_subset"] == {"train": 0.7, "validation": 0.1, "test": 0.2}
    assert report["warnings"] == []
    divisions = folds_of(divide, source, 5)
    learned = {item for division in divisions for item, subset in division.items() if subset == "train"}
    assert len(learned) == 100
    assert divisions == folds_of(divide, index_images(tmp_path / "again", names_of(100)), 5)
    assert divisions[0] != subsets_of(divide(source, result="other", folds=5, seed=7)[1])


@pytest.mark.system
def test_folds_keep_groups_together_and_classes_in_proportion(divide, tmp_path):
    names = [f"{label}/{number:02d}_{side}.png" for label in ("cat", "dog") for number in range(20) for side in "lr"]
    source = index_images(tmp_path / "source", names)
    for division in folds_of(divide, source, 4, stratify=True, name_delimiter="_"):
        subset_of_pair = {(name.split("_")[0].split("/")[1], subset) for name, subset in division.items()}
        assert len(subset_of_pair) == 20  # 00_l.png of cats and of dogs have the same group
    for division in folds_of(divide, source, 5, stratify=True):
        tested = items_tested(division)
        assert sum(name.startswith("cat") for name in tested) == sum(name.startswith("dog") for name in tested) == 8


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"folds": 7}, "splits.folds: got 7, but there are 6 items; expected at most 6."),
        (
            {"folds": 4, "name_delimiter": "_"},
            "splits.folds: got 4, but 6 items are in 3 groups that stay together; expected at most 3.",
        ),
    ],
)
def test_more_folds_than_groups_are_refused(divide, tmp_path, keys, message):
    source = index_images(tmp_path / "source", ["a_1.png", "a_2.png", "b_1.png", "b_2.png", "c_1.png", "c_2.png"])
    assert refused(divide, source, **keys) == message


@pytest.mark.system
def test_folds_do_not_mix_in_test_items_that_the_data_come_with(divide, tmp_path):
    names = names_of(20)
    source = index_images(tmp_path / "source", names, given_subset=["train"] * 15 + ["test"] * 5)
    message = refused(divide, source, folds=4)
    assert "the data come with the subset test. Set splits.use_given_subsets: false" in message
    _, items, _ = divide(source, result="again", folds=4, use_given_subsets=False)
    assert items["subset"].value_counts().sort("count")["count"].to_list() == [2, 5, 13]
    only_train = index_images(tmp_path / "train", names, given_subset=["train"] * 20)
    assert divide(only_train, result="train-only", folds=4)[0]["items_per_subset"]["test"] == 5


def test_items_to_leave_out_are_in_no_subset_and_a_wrong_name_is_refused(divide, tmp_path):
    source = index_images(tmp_path / "source", names_of(20))
    report, items, folder = divide(source, leave_out=["003.png", "007.png"])
    assert (len(items), report["left_out"], report["left_out_nested"]) == (18, 2, 0)
    everything = subsets_of(divide(source, result="all")[1])
    others = {name: subset for name, subset in everything.items() if name not in ("003.png", "007.png")}
    assert subsets_of(items) == others
    assert not list(folder.rglob("003.png"))
    assert "splits.leave_out: Item '003.jpg' does not exist. Did you mean '003.png'?" in refused(
        divide, source, result="again", leave_out=["003.jpg"]
    )
    assert "splits.leave_out names all 20 items" in refused(divide, source, result="none", leave_out=names_of(20))
