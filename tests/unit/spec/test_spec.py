"""Specs: what is valid, and that each mistake gets one line with key, value, expectation and the nearest name."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.errors import SpecError
from assay.experiments.specs import TEMPLATES, template, template_text
from assay.spec.experiment import SECTION_NAMES, TASK_PREFIX
from assay.spec.loading import json_schema, load_spec, merged, spec_from
from assay.spec.yaml_text import read_mapping, to_yaml


def problem(values):
    with pytest.raises(SpecError) as caught:
        spec_from(values, "experiments/ab12.yaml")
    assert len(caught.value.problems) == 1, caught.value.problems
    return str(caught.value)


def source(**keys):
    return {"task": "regression", "generated_images": {"source": {"kind": "numbers", **keys}}}


@pytest.mark.parametrize("task", sorted(TASK_PREFIX))
def test_a_task_is_all_that_a_spec_needs(task):
    spec = spec_from({"task": task}, "x")
    assert spec.seed == 42
    assert spec_from(spec.as_dict(), "x") == spec


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates_are_valid_and_learn_what_they_say(name):
    assert spec_from(template(name), "template").learning == name
    assert "#" in template_text(name)


def test_a_misspelt_template_names_the_nearest():
    with pytest.raises(SpecError, match=r"Template 'multilabel'.*Did you mean 'multi_label'"):
        template("multilabel")


def test_a_misspelt_key_names_file_key_and_the_nearest_valid_one():
    text = problem(source(sample_cuont=3))
    assert text.startswith("experiments/ab12.yaml: generated_images.source.sample_cuont: unknown key.")
    assert "Did you mean 'sample_count'?" in text


def test_a_misspelt_section_names_the_nearest():
    assert "Did you mean 'splits'?" in problem({"task": "regression", "split": {}})


def test_a_wrong_type_names_key_and_value():
    text = problem(source(sample_count="many"))
    assert "generated_images.source.sample_count: got 'many'; input should be a valid integer" in text


def test_a_negative_count_names_the_bound():
    assert "sample_count: got -3; input should be greater than or equal to 1" in problem(source(sample_count=-3))


def test_an_unknown_kind_lists_the_kinds():
    text = problem({"task": "regression", "generated_images": {"source": {"kind": "number"}}})
    assert "generated_images.source.kind: got 'number'; expected one of" in text
    assert "Did you mean 'numbers'?" in text


def test_an_unknown_task_names_the_nearest():
    assert "task: got 'clasification'" in problem({"task": "clasification"})
    assert "Did you mean 'classification'?" in problem({"task": "clasification"})


def test_a_missing_task_says_what_is_expected():
    assert "task: is missing. Expected one of regression, classification" in problem({})


def test_probabilities_that_do_not_sum_to_one_are_refused():
    infos = [{"set_name": "train", "probability": 0.7}, {"set_name": "test", "probability": 0.2}]
    assert "0.9" in problem({"task": "regression", "splits": {"set_infos": infos}})


def test_every_problem_is_told_at_once():
    with pytest.raises(SpecError) as caught:
        spec_from({"task": "regression", "seed": -1, "nmae": "x"}, "x")
    assert len(caught.value.problems) == 2


def test_a_split_without_training_data_names_what_may_be_meant():
    sets = [{"set_name": "training", "probability": 0.7}, {"set_name": "test", "probability": 0.3}]
    with pytest.raises(SpecError, match=r"splits\.set_infos: got training, test; expected one .*Rename 'training'\?"):
        spec_from({"task": "regression", "splits": {"set_infos": sets}}, "x.yaml")


def test_a_subset_that_the_split_never_makes_names_both_keys():
    text = problem({"task": "regression", "predictions": {"datasets": ["tset"]}})
    assert "predictions.datasets is 'tset', but splits.set_infos makes train, validation, test" in text
    assert "Did you mean 'test'?" in text


def test_a_loss_that_does_not_fit_the_task_is_refused():
    learner = {"learner": {"loss": "cross_entropy"}}
    assert "learner.loss is cross_entropy, but task is regression" in problem(
        {"task": "regression", "trained_model": learner}
    )


def test_the_resolved_spec_shows_numbers_where_the_user_left_defaults_open():
    params = spec_from({"task": "classification"}, "x").trained_model.train_params
    assert isinstance(params.epochs, int)


def test_an_experiment_folder_pattern_without_an_id_is_refused():
    assert "$RUN_ID or $SHORT_ID" in problem({"task": "regression", "exp_folder_pattern": "same"})


@pytest.mark.parametrize(
    "text", ["", "task: [", "task: regression\ntask: classification", "- a", "task: regr\n  x: 1\n y"]
)
def test_half_saved_files_are_one_clear_error(tmp_path, text):
    path = tmp_path / "ab12.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"ab12\.yaml: "):
        load_spec(path)


def test_a_file_that_does_not_exist_says_how_to_make_one(tmp_path):
    with pytest.raises(SpecError, match="assay new"):
        load_spec(tmp_path / "ab12.yaml")


def test_yaml_never_builds_python_objects():
    with pytest.raises(SpecError, match="python/object"):
        read_mapping("a: !!python/object/apply:os.system ['true']", "x")


def test_scientific_notation_is_a_number():
    assert read_mapping("a: 1e-3\nb: 3.0e4\nc: e5", "x") == {"a": 1e-3, "b": 3e4, "c": "e5"}


def test_specs_are_frozen():
    spec = spec_from({"task": "regression"}, "x")
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 1


def test_merging_keeps_siblings_and_replaces_another_kind_whole():
    base = {"seed": 1, "model": {"kind": "mlp", "hidden": 3}, "a": {"b": 1, "c": 2}}
    assert merged(base, {"a": {"b": 9}})["a"] == {"b": 9, "c": 2}
    assert merged(base, {"model": {"kind": "cnn"}})["model"] == {"kind": "cnn"}
    assert merged(base, {"model": {"hidden": 5}})["model"] == {"kind": "mlp", "hidden": 5}


def test_the_schema_describes_every_section_and_key():
    schema = json_schema()
    assert set(SECTION_NAMES) <= set(schema["properties"])
    models = [schema, *schema["$defs"].values()]
    undescribed = [
        f"{model.get('title')}.{key}"
        for model in models
        for key, value in model.get("properties", {}).items()
        if key != "kind" and "description" not in value and "$ref" not in value
    ]
    assert undescribed == []


PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=50)


@pytest.mark.parametrize("name", ["two\nlines", "bell\x07", "next\x85line"])
def test_control_characters_in_a_name_are_refused(name):
    assert "expected one line of printable text" in problem({"task": "regression", "name": name})


@settings(max_examples=20)
@given(st.integers(0, 2**63 - 1), PRINTABLE, st.sampled_from(sorted(TASK_PREFIX)))
def test_a_spec_survives_its_own_yaml(seed, name, task):
    spec = spec_from({"task": task, "seed": seed, "name": name}, "x")
    assert spec_from(read_mapping(to_yaml(spec.as_dict()), "x"), "x") == spec
