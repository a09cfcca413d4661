"""The sections of the data stages: which values and combinations are refused, and how."""

import pytest
from pydantic import ValidationError

from assay.spec.crops import CropsSection
from assay.spec.generated_images import (
    BUILT_IN_SOURCES,
    CocoSource,
    ImageFolderSource,
    MaskFolderSource,
    TableSource,
    YoloSource,
)
from assay.spec.normalized import NormalizedSection
from assay.spec.splits import SplitsSection
from assay.spec.tabular import TabularSection
from assay.spec.validation import WITHOUT_EFFECT, keys_without_effect

SECTIONS = {"splits": SplitsSection, "crops": CropsSection, "tabular": TabularSection, "normalized": NormalizedSection}


@pytest.mark.parametrize("section", SECTIONS.values())
def test_a_newcomer_may_leave_everything_out(section):
    made = section()
    assert section.model_validate(made.model_dump(mode="json")) == made


OWN_DATA = (ImageFolderSource, CocoSource, YoloSource, MaskFolderSource, TableSource)


@pytest.mark.parametrize("section", [*SECTIONS.values(), *OWN_DATA])
def test_every_key_is_described(section):
    assert all(field.description for field in section.model_fields.values())


@pytest.mark.parametrize("section", SECTIONS.values())
def test_the_place_of_a_result_is_not_part_of_its_content(section):
    place = "output_parq_location" if section is NormalizedSection else "output_location"
    moved = section.model_validate({place: "elsewhere", "clear_folder": True})
    assert moved.content() == section().content()
    assert moved.output_location == "elsewhere"


def infos(**shares):
    return {"set_infos": [{"set_name": name, "probability": share} for name, share in shares.items()]}


def table(path="x.csv", **keys):
    return TableSource(path=path, target_column="y", **keys)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SplitsSection(**infos(train=0.7, test=0.2)), "sum to 0.9 (0.7 + 0.2); expected 1"),
        (lambda: SplitsSection(set_infos=[*infos(train=0.5)["set_infos"]] * 2), "set_name train is given twice"),
        (lambda: SplitsSection(**infos(train=1.0, test=0.0)), "greater than 0"),
        (lambda: SplitsSection(**infos(train=0.5, masks=0.5)), "got set_name 'masks', the folder of all masks"),
        (lambda: SplitsSection(folds=1), "folds"),
        (lambda: SplitsSection(fold=1), "fold is 1, but there are no folds; give their number as folds"),
        (lambda: SplitsSection(folds=3, fold=3), "fold is 3, but there are 3 folds; expected 0 to 2"),
        (lambda: SplitsSection(folds=3, **infos(train=1.0)), "set_infos makes only train; expected 'test' and another"),
        (lambda: SplitsSection(folds=3, **infos(test=1.0)), "set_infos makes only test; expected 'test' and another"),
        (lambda: SplitsSection(leave_out=["a", "b", "a"]), "leave_out: a is given twice"),
        (lambda: SplitsSection(max_split=2), "max_split has no effect without name_delimiter"),
        (lambda: SplitsSection(name_delimiter="_", group_key="folder"), "group_key and name_delimiter both"),
        (lambda: SplitsSection(sub_dir="../x"), "should match pattern"),
        (lambda: CropsSection(name_delimiter="/"), "should match pattern"),
        (lambda: CropsSection(margin=-0.1), "greater than or equal to 0"),
        (lambda: TabularSection(target_image_size={"width": 1000, "height": 1000}), "1000000 columns"),
        (lambda: NormalizedSection(scalar_feature_keys=["a", "a"]), "scalar_feature_keys: 'a' is listed twice"),
        (
            lambda: NormalizedSection(scalar_feature_keys=["a"], binary_feature_keys=["a"]),
            "scalar_feature_keys and binary_feature_keys both list 'a'",
        ),
        (lambda: NormalizedSection(output_norm_feature_info_file_name="../x.yaml"), "should match pattern"),
        (lambda: NormalizedSection(missing={"numbers": "zero"}), "'median', 'mean', 'constant' or 'refuse'"),
        (lambda: NormalizedSection(missing={"numbers": "constant"}), "constant is not set; give the number"),
        (
            lambda: NormalizedSection(missing={"constant": 3}),
            "constant is 3, but numbers is 'median'; leave one of them",
        ),
        (lambda: NormalizedSection(categories="codes", rare_below=9), "has no effect with categories: codes"),
        (lambda: ImageFolderSource(path="x", extensions=["png"]), "got 'png'; expected a dot and letters"),
        (lambda: CocoSource(path="x.json", annotations={"train": "y"}), "path is a JSON file; give the folder as path"),
        (lambda: MaskFolderSource(path="x", classes={"cat": 0}), "class 'cat' and background both have the value 0"),
        (lambda: MaskFolderSource(path="x", classes={"cat": "#ff"}), "should match pattern"),
        (lambda: MaskFolderSource(path="x", classes={" ": 1}), "the class of value 1 has no name"),
        (lambda: table("x.xlsx"), "got 'x.xlsx'; expected a name that ends in .csv or .parquet"),
        (lambda: table("x.parquet", delimiter=";"), "delimiter is for CSV files, but path is 'x.parquet'"),
        (lambda: table("x.parquet", decimal=","), "decimal is for CSV files, but path is 'x.parquet'"),
        (lambda: table(decimal=",", thousands=","), "decimal and thousands are both ','; expected two signs"),
        (lambda: table(encoding="klingon"), "encoding: got 'klingon'; expected an encoding of text"),
        (lambda: table(encoding="base64"), "encoding: got 'base64'; expected an encoding of text"),
        (lambda: table(group_column="y"), "target_column and group_column both name column 'y'"),
    ],
)
def test_a_wrong_value_or_combination_is_one_clear_error(make, message):
    with pytest.raises(ValidationError) as caught:
        make()
    assert message in str(caught.value)


def test_shares_that_no_float_holds_exactly_are_fine():
    assert SplitsSection(**infos(train=0.7, validation=0.1, test=0.2))
    assert SplitsSection(**infos(train=0.3333333, validation=0.3333333, test=0.3333334))


def test_endings_are_compared_in_any_case():
    assert ImageFolderSource(path="x", extensions=[".PNG", ".png"]).extensions == (".png",)


def made(**changed):
    return {name: section.model_validate(changed.get(name, {})) for name, section in SECTIONS.items()}


@pytest.mark.parametrize("kind", BUILT_IN_SOURCES)
def test_defaults_go_with_every_source(kind):
    assert list(keys_without_effect(kind, made())) == []


@pytest.mark.parametrize("kind", WITHOUT_EFFECT)
def test_every_key_that_is_called_without_effect_exists(kind):
    for name, keys in WITHOUT_EFFECT[kind].items():
        assert set(keys) <= set(SECTIONS[name].model_fields)


def test_a_key_that_can_have_no_effect_is_named_with_the_source():
    (problem,) = keys_without_effect("image_folder", made(crops={"margin": 0.5}))
    assert "crops.margin (0.5) has no effect with generated_images.source.kind 'image_folder'" in problem


def test_new_keys_leave_the_content_of_existing_specs_alone():
    assert ImageFolderSource(path="x").content() == {
        "extensions": [".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"],
        "max_pixels": 50_000_000,
        "kind": "image_folder",
        "path": "x",
        "subset_folders": "detect",
    }
    assert TableSource(path="x.csv", target_column="y").content() == {
        "kind": "table",
        "path": "x.csv",
        "target_column": "y",
        "subset_column": None,
        "group_column": None,
        "ignore_columns": [],
        "delimiter": ",",
        "null_values": ["", "NA", "NaN", "nan", "null"],
    }
    assert TableSource(path="x.csv", target_column="y", decimal=",").content()["decimal"] == ","


def test_keys_of_folds_and_items_left_out_change_no_fingerprint_of_a_spec_without_them():
    assert {"folds", "fold", "leave_out"}.isdisjoint(SplitsSection().content())
    assert SplitsSection(folds=5, fold=0, leave_out=["a"]).content().keys() >= {"folds", "fold", "leave_out"}
