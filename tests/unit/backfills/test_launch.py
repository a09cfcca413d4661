"""What a backfill materializes and how it is called."""

from assay.backfills.launch import LONGEST_TITLE, needed_assets, plain_title
from assay.spec.loading import spec_from

ASSETS = [("experiment",), ("spec_normalized",), ("crops",), ("normalized",), ("trained_model",)]


def spec(task):
    return spec_from({"task": task}, "test")


def test_stages_that_no_experiment_reads_are_left_out_and_sections_never():
    assert needed_assets(ASSETS, [spec("classification")]) == [path for path in ASSETS if path != ("normalized",)]


def test_a_stage_that_one_experiment_reads_is_made_for_all():
    assert needed_assets(ASSETS, [spec("classification"), spec("regression")]) == ASSETS


def test_a_title_is_what_dagster_allows():
    assert plain_title('job:  name like "a%"\n and x*2') == "job: name like a and x 2"
    assert len(plain_title("x" * 300)) == LONGEST_TITLE
