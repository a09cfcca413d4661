import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from assay.spec.classes import ClassDescription, check_classes, classes_of_labels, unknown_subclasses

LISTS = TypeAdapter(tuple[ClassDescription, ...])


def described(*classes):
    return LISTS.validate_python(classes)


def a(name, *subclasses, **keys):
    return {"name": name, "subclasses": subclasses, **keys}


@pytest.mark.defect("A5")
def test_a_label_gives_its_own_class_and_its_super_class():
    digits = described("0", "1", "2", "3", a("even", "0", "2"), a("odd", "1", "3"))
    assert classes_of_labels(digits) == {
        "0": (0, 4),
        "1": (1, 5),
        "2": (2, 4),
        "3": (3, 5),
        "even": (4,),
        "odd": (5,),
    }


def test_subclasses_may_be_classes_with_subclasses_of_their_own():
    tree = described(a("living", "animal", "tree"), a("animal", "cat", "dog"), "dog")
    assert classes_of_labels(tree)["cat"] == (0, 1)
    assert classes_of_labels(tree)["dog"] == (0, 1, 2)
    assert classes_of_labels(tree)["tree"] == (0,)


def test_two_ways_to_one_label_count_once():
    diamond = described(a("top", "left", "right"), a("left", "x"), a("right", "x"))
    assert classes_of_labels(diamond)["x"] == (0, 1, 2)


@given(st.lists(st.sets(st.sampled_from("uvwxyz")), min_size=1, max_size=5))
def test_a_label_belongs_to_exactly_the_classes_that_list_it(members):
    classes = described(*(a(f"class {place}", *sorted(labels)) for place, labels in enumerate(members)))
    found = classes_of_labels(classes)
    for label in "uvwxyz":
        assert found.get(label, ()) == tuple(place for place, labels in enumerate(members) if label in labels)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("a", "b", "a"), "classes names a twice; every class has its own name"),
        ((a("a", "x", "x"), "b"), "classes: a lists x twice among its subclasses"),
        ((a("a", "a"), "b"), "classes: a contains a; a class can't contain itself"),
        ((a("a", "b"), a("b", "c"), a("c", "b")), "classes: b contains c contains b; a class can't contain itself"),
        ((a("a", "x"), a("b", "x")), "classes: label 'x' belongs to a and to b, but an item has one class only"),
        ((a("pet", "cat"), "cat"), "classes: label 'cat' belongs to pet and to cat"),
    ],
)
def test_classes_that_contradict_each_other_are_refused(classes, message):
    with pytest.raises(ValueError, match=message):
        check_classes(described(*classes), exclusive=True)


def test_classes_that_share_labels_are_fine_where_an_item_has_several():
    check_classes(described(a("even", "2"), a("prime", "2", "3")), exclusive=False)


def test_a_subclass_that_nothing_is_called_is_named_with_the_nearest():
    classes = described(a("animal", "cat", "dgo"), a("all", "animal"))
    assert unknown_subclasses(classes, ["cat", "dog"]) == ["animal: 'dgo'; did you mean 'dog'?"]


@pytest.mark.parametrize("written", [["a", "b"], [{"name": "a", "subclasses": ["x"], "weight": 2.0}, "b"]])
def test_classes_are_saved_as_they_are_written(written):
    classes = LISTS.validate_python(written)
    assert LISTS.dump_python(classes, mode="json") == written
    assert LISTS.validate_json(LISTS.dump_json(classes)) == classes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (7, r"got 7; expected a name such as '7' in quotes, or \{name"),
        ({"name": "a", "weight": 0}, "greater than 0"),
        ({"name": "a", "subclass": ["x"]}, "Extra inputs are not permitted"),
        ("", "at least 1 character"),
    ],
)
def test_a_wrong_class_is_an_error(wrong, message):
    with pytest.raises(ValidationError, match=message):
        LISTS.validate_python([wrong])


def test_the_schema_describes_both_forms():
    schema = ClassDescription.model_json_schema(mode="validation")
    name, whole = schema["anyOf"]
    assert name["type"] == "string"
    assert "multiplied by learner.class_weights" in whole["properties"]["weight"]["description"]
