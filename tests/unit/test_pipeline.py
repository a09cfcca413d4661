"""Fingerprints: what changes them, what does not, and which stages an experiment needs."""

import pytest

from assay.pipeline import STAGES, needed_stages, stage_config
from assay.spec.loading import spec_from

BALANCED = {"learner": {"class_weights": "balanced"}}


def spec(task="regression", **keys):
    return spec_from({"task": task, **keys}, "x")


def digests(experiment, name="ab12"):
    return {stage: stage_config(experiment, name, stage).digest for stage in STAGES}


def changed(one, two):
    return {stage for stage in STAGES if digests(one)[stage] != digests(two)[stage]}


def test_a_learning_rate_changes_the_model_only():
    other = spec(trained_model={"learner": {"learning_rate": 0.123}})
    assert changed(spec(), other) == {"trained_model"}


def test_folds_share_the_source_and_a_fold_left_out_is_the_first():
    folds = [spec(splits={"folds": 5, "fold": number}) for number in (0, 1)]
    assert changed(*folds) == {"splits"}
    assert changed(folds[0], spec(splits={"folds": 5})) == set()


def test_the_digest_of_splits_is_that_of_the_version_before_folds():
    assert digests(spec())["splits"] == "1151c1136d6c914e9dd66274"


def test_the_experiments_id_name_and_description_change_nothing():
    assert changed(spec(), spec(name="other", description="other")) == set()
    assert digests(spec(), "a") == digests(spec(), "b")


def test_where_a_result_is_written_is_not_part_of_what_it_is():
    assert changed(spec(), spec(crops={"output_location": "elsewhere", "clear_folder": True})) == set()


def test_the_task_does_not_touch_the_data():
    assert changed(spec("regression"), spec("classification")) == {"trained_model", "predictions", "analysis"}


def test_the_seed_reaches_every_section_that_has_none_of_its_own():
    assert {"generated_images", "splits", "trained_model"} <= changed(spec(), spec(seed=1))
    own = {"generated_images": {"seed": 7}, "splits": {"seed": 7}}
    assert changed(spec(**own), spec(seed=1, **own)).isdisjoint({"generated_images", "splits", "crops"})


def test_only_classifiers_with_class_weights_lost_what_they_had_learned():
    """Their items were weighed wrongly together with label smoothing; these are the digests of that time."""
    assert digests(spec("classification"))["trained_model"] == "fa81d84a7feb723d260eed30"
    assert digests(spec("classification", trained_model=BALANCED))["trained_model"] != "5f42f5e1a28e4b67ad4d61a2"


def test_detectors_keep_the_digest_of_the_time_before_reductions():
    named = spec("detection", trained_model={"data_description": {"reductions": [1, 2]}})
    assert digests(spec("detection"))["trained_model"] == "888769d888fbc928c525f1c1"
    assert changed(spec("detection"), named) == {"trained_model"}


TABLE = {"generated_images": {"source": {"kind": "table", "path": "houses.csv", "target_column": "price"}}}
FORMER = {"normalized": {"numbers": "range", "categories": "codes"}}


def test_only_tables_are_scaled_anew_and_results_of_the_former_scaling_are_found_where_it_is_named():
    """These are the digests of the time before ``numbers``, ``categories`` and ``missing``."""
    assert digests(spec())["normalized"] == "b8d63c6ab680888979b24daf"
    assert digests(spec(**TABLE, **FORMER))["normalized"] == "b8d63c6ab680888979b24daf"
    assert changed(spec(**TABLE), spec(**TABLE, **FORMER)) == {"normalized"}
    assert changed(spec(**TABLE), spec(**TABLE, normalized={"missing": {"numbers": "mean"}})) == {"normalized"}


def test_models_of_tables_that_are_named_are_found_and_only_others_are_chosen_anew():
    """These are the digests of the time when the model of a table was the network."""
    former = {"model": {"kind": "mlp", "width": 128}}
    assert digests(spec(**TABLE, trained_model=former))["trained_model"] == "78d7e5d163cab8c2915e7ecb"
    assert (
        digests(spec(**TABLE, trained_model={"model": {"kind": "linear"}}))["trained_model"]
        == "91eb0be9c49245fe43a3f53b"
    )
    assert (
        digests(spec(**TABLE, trained_model={"train_params": {"epochs": 3}}))["trained_model"]
        == "28a5bb97505fca424e0a3d45"
    )
    assert changed(spec(**TABLE), spec(**TABLE, trained_model=former)) == {"trained_model"}
    assert spec(**TABLE).trained_model.model.kind == "auto"


def test_a_training_seed_of_its_own_shares_the_data():
    assert changed(spec(), spec(trained_model={"seed": 3})) == {"trained_model"}


def test_a_fingerprint_follows_the_inputs():
    part = stage_config(spec(), "ab12", "crops")
    assert part.fingerprint({"splits": "a"}) == part.fingerprint({"splits": "a"})
    assert part.fingerprint({"splits": "a"}) != part.fingerprint({"splits": "b"})


@pytest.mark.parametrize(
    ("task", "source", "unused"),
    [
        ("regression", {"kind": "numbers"}, set()),
        ("classification", {"kind": "numbers"}, {"tabular", "normalized"}),
        ("classification", {"kind": "table", "path": "x.csv", "target_column": "y"}, {"crops"}),
        ("regression", {"kind": "table", "path": "x.csv", "target_column": "y"}, {"crops"}),
    ],
)
def test_stages_that_a_task_never_reads_are_not_needed(task, source, unused):
    experiment = spec(task, generated_images={"source": source})
    assert set(STAGES) - set(needed_stages(experiment)) == unused
