import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import DataError
from assay.spec.classes import DataDescription
from assay.training.class_targets import ClassTarget
from assay.training.targets import NumberTarget, fit_target, target_column


def rows(**columns):
    length = len(next(iter(columns.values())))
    return pl.DataFrame({"item": [str(index) for index in range(length)], **columns})


def classes(labels, **description):
    return fit_target(DataDescription(**description), "classification", "label", rows(label=labels))


def test_classes_come_from_the_training_rows_in_natural_order():
    assert classes(["10", "9", "b", "a", "9"]).classes == ("9", "10", "a", "b")


def test_an_explicit_list_keeps_its_order():
    target = classes(["a", "b"], classes=("b", "a"))
    assert target.encode(rows(label=["a", "b"])).tolist() == [1, 0]


def test_a_class_without_training_items_is_refused():
    with pytest.raises(DataError, match=r"no training item of these classes(.|\n)*- c"):
        classes(["a", "b"], classes=("a", "b", "c"))


def test_classes_that_differ_only_in_case_are_refused_before_anything_is_trained():
    for task, description in (("classification", {}), ("multi_label", {"multi_label": True})):
        with pytest.raises(
            DataError, match=r"differ only in upper and lower case(.|\n)*class_mapping(.|\n)*- 'A', 'a'"
        ):
            fit_target(DataDescription(**description), task, "label", rows(label=["a", "A", "b"]))
    assert classes(["a", "A", "b"], class_mapping={"a": "a", "A": "a", "b": "b"}).classes == ("a", "b")


def test_labels_are_mapped_to_classes():
    target = classes(["0", "1", "7"], class_mapping={"0": "small", "1": "small", "7": "large"})
    assert target.classes == ("large", "small")
    assert target.decode(target.encode(rows(label=["7", "0"]))) == ["large", "small"]


def test_a_label_that_the_mapping_lacks_is_named():
    with pytest.raises(DataError, match=r"belong to no class(.|\n)*class_mapping(.|\n)*- 7"):
        classes(["0", "7"], class_mapping={"0": "small"})


def test_a_class_seen_in_test_but_not_in_train_is_named_with_its_count():
    with pytest.raises(DataError, match=r"The model knows a, b\.\n  - c: 2 item"):
        classes(["a", "b"]).encode(rows(label=["a", "c", "c"]))


def test_items_without_a_label_are_named():
    with pytest.raises(DataError, match=r"1 item has no label(.|\n)*- 1"):
        classes(["a", None, "b"])


def test_one_class_is_nothing_to_learn():
    with pytest.raises(DataError, match="only the class 'a'"):
        classes(["a", "a"])


@given(st.lists(st.sampled_from(["a", "b", "10", "9"]), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_decoding_undoes_encoding(labels):
    target = ClassTarget(column="label", classes=("9", "10", "a", "b"))
    assert target.decode(target.encode(rows(label=labels))) == labels


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=20))
@settings(max_examples=50, deadline=None)
def test_a_standardized_number_comes_back_in_its_own_unit(values):
    target = fit_target(DataDescription(), "regression", "price", rows(price=values))
    assert isinstance(target, NumberTarget)
    decoded = target.decode(target.encode(rows(price=values))).tolist()
    assert decoded == pytest.approx(values, abs=1e-6 * max(1.0, target.std) + 1e-5 * max(map(abs, values)))


def test_equal_targets_are_learned_without_dividing_by_zero():
    target = fit_target(DataDescription(), "regression", "price", rows(price=[3.0, 3.0]))
    assert target.encode(rows(price=[3.0])).tolist() == [0.0]


def test_text_is_no_number():
    with pytest.raises(DataError, match="holds String, not numbers"):
        fit_target(DataDescription(), "regression", "price", rows(price=["1", "2"]))


def test_a_missing_target_names_the_nearest_column():
    with pytest.raises(DataError, match="Did you mean 'price'"):
        fit_target(DataDescription(), "regression", "prize", rows(price=[1.0, 2.0]))


def test_missing_numbers_are_named_by_item():
    with pytest.raises(DataError, match=r"no finite number(.|\n)*- 1"):
        fit_target(DataDescription(), "regression", "price", rows(price=[1.0, None, 2.0]))


def test_unknown_ground_truth_is_null_outside_of_training():
    number = fit_target(DataDescription(), "regression", "price", rows(price=[1.0, 3.0]))
    assert number.ground_truth(rows(price=[2.0, None, float("nan")])).to_list() == [2.0, None, None]
    assert classes(["a", "b"]).ground_truth(rows(label=["b", None])).to_list() == ["b", None]


def test_the_target_is_what_the_data_carry_unless_named():
    assert target_column(DataDescription(), "regression", "normalized") == "target"
    assert target_column(DataDescription(), "regression", "crops") == "number"
    assert target_column(DataDescription(), "classification", "crops") == "label"
    assert target_column(DataDescription(target="price"), "regression", "normalized") == "price"
