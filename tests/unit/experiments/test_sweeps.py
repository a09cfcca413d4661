"""Sweeps: keys found by their ends, values read as YAML, all experiments or none, never the same one twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.errors import IdError, SpecError
from assay.experiments.specs import SpecFiles
from assay.experiments.sweeps import Axis, combinations, full_key, plan_sweep, read_axis, sweepable_keys, write_sweep
from assay.spec.loading import spec_from
from assay.spec.yaml_text import flatten, nest, short_names

BASE = {"task": "classification", "name": "digits", "tags": {"owner": "mia"}}
KEYS = sweepable_keys(spec_from(BASE, "x").as_dict())
EPOCHS = "trained_model.train_params.epochs"
RATE = "trained_model.learner.learning_rate"


@pytest.fixture
def store(tmp_path):
    return SpecFiles(tmp_path / "experiments", tmp_path)


def plan(store, *grid, name="lr", base=BASE):
    return plan_sweep(store, base, [read_axis(text, KEYS) for text in grid], name)


@pytest.mark.parametrize(
    ("short", "key"),
    [("epochs", EPOCHS), ("train_params.epochs", EPOCHS), (EPOCHS, EPOCHS), ("learning_rate", RATE), ("seed", "seed")],
)
def test_a_key_is_found_by_its_end_and_an_exact_one_wins(short, key):
    assert full_key(short, KEYS) == key


def test_keys_of_a_head_take_no_short_name_from_a_model_without_one():
    assert full_key("penalty", KEYS) == "trained_model.model.penalty"
    trained = {"model": {"kind": "pretrained", "weights": "network"}}
    keys = sweepable_keys(spec_from({**BASE, "trained_model": trained}, "x").as_dict())
    assert full_key("head.penalty", keys) == "trained_model.model.head.penalty"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("width", "could be any of generated_images.source.img_size.width"),
        ("train_params.learning_rate", f"does not exist. Did you mean {RATE}?"),
        ("epohcs", f"Did you mean {EPOCHS}?"),
        ("qqqq", "Sections: "),
    ],
)
def test_an_ambiguous_or_unknown_key_is_one_error_with_the_candidates(wrong, expected):
    with pytest.raises(SpecError) as caught:
        full_key(wrong, KEYS)
    assert expected in str(caught.value)
    assert len(caught.value.problems) == 1


def test_keys_of_every_kind_can_be_swept_not_only_those_of_the_base():
    assert {"generated_images.source.target_column", "trained_model.model.kind", "trained_model.model"} <= KEYS


@pytest.mark.parametrize(
    ("listed", "values"),
    [
        ("1e-3,3e-4", (0.001, 0.0003)),
        ("[5, 10]", (5, 10)),
        ("null,5", (None, 5)),
        ("mse,smooth_l1", ("mse", "smooth_l1")),
        ('"a,b",c', ("a,b", "c")),
        ("[test],[validation, test]", (["test"], ["validation", "test"])),
        ("[[test, train]]", (["test", "train"],)),
        ("{kind: mlp, width: 8},{kind: cnn}", ({"kind": "mlp", "width": 8}, {"kind": "cnn"})),
    ],
)
def test_values_are_yaml_separated_by_commas(listed, values):
    assert read_axis(f"epochs={listed}", KEYS) == Axis(EPOCHS, values)
    assert [type(value) for value in read_axis(f"epochs={listed}", KEYS).values] == [type(value) for value in values]


@pytest.mark.parametrize("text", ["epochs", "=3", "epochs=", "epochs=[1", "epochs=1,,2"])
def test_a_grid_that_can_not_be_read_names_what_was_given(text):
    with pytest.raises(SpecError, match=r"--grid: .*epochs|--grid: got"):
        read_axis(text, KEYS)


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ([Axis("a", (1,)), Axis("a", (2,))], "a is given twice"),
        ([Axis("a.b", (1,)), Axis("a", (2,))], "a.b lies inside of a"),
        ([Axis(key, tuple(range(101))) for key in "ab"], "makes 10,201 combinations"),
    ],
)
def test_axes_that_do_not_go_together_are_refused(axes, expected):
    with pytest.raises(SpecError, match=expected):
        combinations(axes)


def test_every_combination_is_an_experiment_and_the_last_key_varies_fastest(store):
    sweep = plan(store, "learning_rate=1e-3,3e-4", "epochs=5,10")
    assert write_sweep(store, sweep) == ["lr-01", "lr-02", "lr-03", "lr-04"]
    spec = store.load("lr-02")
    assert (spec.trained_model.learner.learning_rate, spec.trained_model.train_params.epochs) == (0.001, 10)
    assert spec.tags == {"owner": "mia", "sweep": "lr"}
    assert spec.name == "digits"


def test_the_same_sweep_again_writes_nothing_and_a_larger_one_only_what_is_new(store):
    write_sweep(store, plan(store, "epochs=5,10"))
    again = plan(store, "epochs=5,10")
    assert write_sweep(store, again) == []
    larger = plan(store, "epochs=3,5,10")
    assert [(member.experiment_id, member.exists) for member in larger.members] == [
        ("lr-03", False),
        ("lr-01", True),
        ("lr-02", True),
    ]
    assert [member.exists for member in plan(store, "epochs=5,10", name="other").members] == [False, False]


def test_an_edited_or_half_saved_member_is_another_experiment(store):
    write_sweep(store, plan(store, "epochs=5,10"))
    store.path("lr-01").write_text("task: [")
    assert [member.experiment_id for member in plan(store, "epochs=5,10").members] == ["lr-03", "lr-02"]


def test_nothing_is_written_when_one_combination_is_wrong_and_every_problem_is_told(store):
    with pytest.raises(SpecError) as caught:
        plan(store, "epochs=5,0", "learning_rate=1e-3,-1")
    told = sorted(problem.split(": ")[0] for problem in caught.value.problems)
    assert told == [RATE, EPOCHS]
    assert f"(with {EPOCHS}=0, {RATE}=0.001)" in str(caught.value)
    assert store.ids() == []


def test_two_combinations_that_are_the_same_experiment_are_refused(store):
    with pytest.raises(SpecError, match="is the same experiment as"):
        plan(store, "epochs=5,5.0")


def test_another_kind_replaces_the_keys_of_the_former(store):
    base = BASE | {"trained_model": {"model": {"kind": "mlp", "width": 7}}}
    sweep = plan(store, "model.kind=cnn,mlp", "trained_model.model.dropout=0.3", base=base)
    assert [member.content["trained_model"]["model"] for member in sweep.members] == [
        {"kind": "cnn", "dropout": 0.3},
        {"kind": "mlp", "width": 7, "dropout": 0.3},
    ]


def test_keys_of_a_kind_that_the_base_leaves_open_can_be_swept(store):
    sweep = plan(store, "trained_model.model.width=8,16")
    assert [member.content["trained_model"]["model"] for member in sweep.members] == [
        {"kind": "cnn", "width": 8},
        {"kind": "cnn", "width": 16},
    ]


def test_an_id_taken_meanwhile_leaves_nothing_behind(store):
    sweep = plan(store, "epochs=5,10,15")
    store.create({"task": "regression"}, "lr-02")
    with pytest.raises(IdError, match="already used"):
        write_sweep(store, sweep)
    assert store.ids() == ["lr-02"]


def test_the_ids_of_removed_experiments_are_left_out(store):
    store.tombstones.add("lr-01")
    assert [member.experiment_id for member in plan(store, "epochs=5,10").members] == ["lr-02", "lr-03"]


@pytest.mark.parametrize("name", ["../x", "A b", "x" * 62])
def test_a_name_that_can_not_begin_an_id_is_refused(store, name):
    with pytest.raises(IdError):
        plan(store, "epochs=5", name=name)


NAMES = st.text("abc", min_size=1, max_size=2)
VALUES = st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8)


@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_nesting_undoes_flattening(values):
    assert nest(flatten(values)) == values


def test_short_names_are_the_shortest_endings_that_only_one_key_has():
    keys = ["a.source.width", "b.width", "c.epochs", "seed", "c.seed"]
    assert list(short_names(keys).values()) == ["source.width", "b.width", "epochs", "seed", "c.seed"]


def test_a_default_in_the_grid_is_no_experiment_with_another_kind_of_model(store):
    source = {"kind": "table", "path": "a.csv", "target_column": "y"}
    base = {"task": "regression", "generated_images": {"source": source}}
    contents = [each.content for each in plan(store, "learning_rate=0.004,0.01", base=base).members]
    assert [spec_from(each, "x").trained_model.model.kind for each in contents] == ["mlp", "mlp"]
    chosen = {**base, "trained_model": {"model": {"kind": "auto"}}}
    with pytest.raises(SpecError, match=r"model\.kind 'auto' also means models that are fitted at once"):
        plan(store, "learning_rate=0.004,0.01", base=chosen)
