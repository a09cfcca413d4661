"""Tags: which names and texts are valid, and that no result depends on them."""

import json

import pytest

from assay.errors import SpecError
from assay.experiments.folders import ExperimentFolder, experiment_row
from assay.pipeline import STAGES, stage_config
from assay.spec.experiment import SECTION_NAMES
from assay.spec.loading import spec_from

TAGGED = {"sweep": "lr-grid", "owner.name": "Mia Åberg"}


def spec(tags):
    return spec_from({"task": "regression", "tags": tags}, "experiments/ab12.yaml")


def test_tags_survive_their_own_dump():
    assert spec(spec(TAGGED).as_dict()["tags"]) == spec(TAGGED)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"a": 3}, "tags.a: got 3, a number; expected a text"),
        ({"a b": "x"}, "name 'a b' is not valid; expected 1 to 63 letters"),
        ({"": "x"}, "name '' is not valid"),
        ({"a": ""}, "a is ''; expected 1 to 200 printable characters on one line"),
        ({"a": "x\ny"}, "expected 1 to 200 printable characters on one line"),
        ({"a": "x" * 201}, "expected 1 to 200 printable characters"),
        ({f"t{n}": "x" for n in range(51)}, "got 51 tags; expected at most 50"),
    ],
)
def test_a_wrong_tag_is_one_line_that_says_what_was_expected(tags, expected):
    with pytest.raises(SpecError) as caught:
        spec(tags)
    (problem,) = caught.value.problems
    assert expected in problem


def test_no_stage_reads_tags():
    for name in (*STAGES, *SECTION_NAMES):
        assert stage_config(spec(TAGGED), "ab12", name) == stage_config(spec({}), "ab12", name)


def test_the_table_of_experiments_holds_tags_as_json(tmp_path):
    row = experiment_row("ab12", spec(TAGGED), ExperimentFolder("ab12", "run", tmp_path))
    assert json.loads(row["tags"]) == TAGGED
