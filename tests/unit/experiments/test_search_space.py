"""The space of a search: ranges and choices as they are written, and what no experiment could be is refused at once."""

import pytest

from assay.errors import IdError, SpecError
from assay.experiments.search_space import MOST_CORNERS, read_space
from assay.spec.loading import spec_from

BASE = {"task": "classification", "name": "digits"}
RATE, EPOCHS = "trained_model.learner.learning_rate", "trained_model.train_params.epochs"
SMOOTHING, WIDTH = "trained_model.learner.label_smoothing", "trained_model.model.width"


def read(*texts, base=BASE, name="digits-tune"):
    return read_space(texts, base, "base.yaml", name)


@pytest.mark.parametrize(
    ("text", "full", "whole"),
    [
        ("learning_rate=log:1e-4..1e-2", f"{RATE}=log:0.0001..0.01", False),
        ("learning_rate = 0.1 .. 0.5", f"{RATE}=0.1..0.5", False),
        ("epochs=5..40", f"{EPOCHS}=5..40", True),
        ("epochs=log:5..40", f"{EPOCHS}=log:5..40", True),
        ("label_smoothing=0..0.3", f"{SMOOTHING}=0..0.3", False),
        ("model.width=16|32|64", f"{WIDTH}=16|32|64", False),
        ("clip_norm=null|5.0", "trained_model.learner.clip_norm=null|5.0", False),
        ("optimizer=adamw|sgd", "trained_model.learner.optimizer=adamw|sgd", False),
        ("set_infos=null|[]", None, False),
    ],
)
def test_a_key_has_a_range_or_choices(text, full, whole):
    if full is None:
        with pytest.raises(SpecError):
            read(text)
        return
    (dimension,) = read(text).dimensions
    assert (dimension.text, dimension.whole) == (full, whole)


def test_whole_ends_of_a_key_that_takes_fractions_mean_all_numbers_between():
    """Or a search between 0 and 1 would try nothing but 0 and 1."""
    (dimension,) = read("focal_gamma=0..1", base={**BASE, "trained_model": {"learner": {"loss": "focal"}}}).dimensions
    assert not dimension.whole
    assert dimension.value_of(0.123456789) == 0.1235


@pytest.mark.parametrize(
    ("text", "proposed", "value"),
    [
        ("ema_decay=0..0.9", 0.123456789, 0.1235),
        ("ema_decay=0.5..0.9", 0.123456789 + 0.5, 0.6235),
        ("ema_decay=0.999..0.9999", 0.99912345678, 0.9991235),
        ("ema_decay=0.9999..0.99999", 0.999956789, 0.99995679),
        ("learning_rate=log:1e-4..1e-2", 0.00123456, 0.001235),
    ],
)
def test_a_number_has_so_many_digits_that_a_narrow_range_has_many_values(text, proposed, value):
    (dimension,) = read(text).dimensions
    assert dimension.value_of(proposed) == value


def test_a_proposal_becomes_values_of_the_spec_within_the_ends():
    space = read("learning_rate=log:1.00004e-4..1e-2", "epochs=5..40", "optimizer=adamw|sgd", "clip_norm=null|5")
    proposed = {RATE: 1.00004e-4, EPOCHS: 7, "trained_model.learner.optimizer": "sgd"}
    changes = space.changes({**proposed, "trained_model.learner.clip_norm": "null"})
    assert list(changes.values()) == [1.00004e-4, 7, "sgd", None]
    spec = spec_from(space.content(changes), "trial")
    assert (spec.trained_model.learner.learning_rate, spec.tags) == (1.00004e-4, {"sweep": "digits-tune"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate", "--space: got 'learning_rate'; expected KEY=FROM..TO"),
        ("=1..2", "--space: got '=1..2'; expected KEY=FROM..TO"),
        ("lerning_rate=1..2", f"key 'lerning_rate': does not exist. Did you mean {RATE}?"),
        ("width=1|2", "key 'width': could be any of generated_images.source.img_size.width"),
        ("learning_rate=1e-2..1e-4", "ends before it begins; expected learning_rate=1e-4..1e-2"),
        ("learning_rate=log:1e-2..1e-4", "expected learning_rate=log:1e-4..1e-2"),
        ("learning_rate=0.1..0.1", "has one value; expected two ends, or learning_rate: 0.1 in the base"),
        ("learning_rate=log:0..0.1", "has no logarithm at 0; expected ends above 0, or learning_rate=0..0.1"),
        ("learning_rate=..0.1", "an end of learning_rate is ''; expected a number"),
        ("learning_rate=a..b", "an end of learning_rate is 'a'; expected a number"),
        ("learning_rate=true..5", "an end of learning_rate is 'true'; expected a number"),
        ("learning_rate=1..inf", "an end of learning_rate is 'inf'; expected a number"),
        ("learning_rate=0.1", "leaves nothing to search; expected learning_rate=FROM..TO or learning_rate=A|B"),
        ("epochs=5,10", "a list is written 5|10"),
        ("epochs=5|5", "has 5 twice; expected each choice once"),
        ("epochs=[1|2", "the choices of epochs are not YAML"),
        ("epochs=0..4", "epochs: got 0; input should be greater than or equal to 1. (with"),
        ("epochs=5.0..9.0", "epochs: got 6.528; input should be a valid integer"),
        ("optimizer=adamw|adm", "got 'adm'; expected 'muon', 'adamw' or 'sgd'. Did you mean 'adamw'? (with"),
        ("epochs=5|none", "epochs: got 'none'"),
    ],
)
def test_what_can_not_be_searched_is_one_sentence_with_the_next_step(text, expected):
    with pytest.raises(SpecError) as caught:
        read(text)
    assert expected in str(caught.value)
    assert len(caught.value.problems) == 1


def test_both_wrong_ends_are_one_problem():
    with pytest.raises(SpecError, match="got 200") as caught:
        read("learning_rate=200..300")
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), "--space: is missing"),
        (("epochs=1..2", "train_params.epochs=3|4"), "is given twice; put all its values into one --space"),
        (("model.width=8|16", "trained_model.model=null|{kind: cnn}"), "lies inside of trained_model.model"),
    ],
)
def test_keys_are_given_once(texts, expected):
    with pytest.raises(SpecError, match="--space") as caught:
        read(*texts)
    assert expected in str(caught.value)


def test_two_values_that_are_only_wrong_together_are_found_before_anything_is_trained():
    with pytest.raises(SpecError, match=r"early_stopping keeps the best epoch.*with .*choose_epoch=last"):
        read("choose_epoch=best|last", "early_stopping=null|{patience: 3}")


def test_of_a_space_with_many_corners_each_key_is_tried_alone():
    many = ("learning_rate=0.1..0.2", "epochs=5..50", "clip_norm=1..9", "ema_decay=0..0.9", "weight_decay=0..1")
    assert 3 ** (len(many) + 1) > MOST_CORNERS
    with pytest.raises(SpecError, match="momentum: got 2"):
        read(*many, "momentum=0..2")


def test_the_base_and_the_name_are_checked():
    with pytest.raises(SpecError, match=r"base\.yaml"):
        read("epochs=1..2", base={"task": "clasification"})
    with pytest.raises(IdError, match="My Study"):
        read("epochs=1..2", name="My Study")


ROWS = {"task": "regression", "generated_images": {"source": {"kind": "table", "path": "a.csv", "target_column": "y"}}}


@pytest.mark.parametrize("text", ["learning_rate=0.004|0.01", "epochs=40|80", "threads=1|2", "choose_epoch=best|last"])
def test_a_default_among_the_values_makes_no_trial_of_another_kind_of_model(text):
    """The data choose the model of a table, unless a key differs from its default that only a network reads."""
    space = read(text, base=ROWS)
    (dimension,) = space.dimensions
    specs = [spec_from(space.content({dimension.key: value}), "trial") for value in dimension.choices]
    assert [each.trained_model.model.kind for each in specs] == ["mlp", "mlp"]


def test_the_data_still_choose_the_model_where_no_key_of_a_network_varies():
    for text in ("rare_below=1|3", "loss=mse|smooth_l1", "model.kind=auto|linear"):
        assert spec_from(read(text, base=ROWS).base, "base").trained_model.model.kind == "auto"


@pytest.mark.parametrize(
    "text",
    [
        "board=a|b",
        "existing_experiment=a|b",
        "task=regression|classification",
        "name=a|b",
        "calibration_bins=5..20",
        "exptests.tests=null|[]",
        "data_validation.subset=validation|test",
        "predictions.datasets=[test]|[validation, test]",
    ],
)
def test_a_key_that_says_how_a_trial_is_measured_named_or_kept_is_not_searched(text):
    with pytest.raises(SpecError, match=r"varies .* by which a trial is measured, named or kept; set it in the base"):
        read(text)
