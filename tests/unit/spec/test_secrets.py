"""Secrets are recognized by name, by value and in URLs; they are refused where they would be saved."""

import pytest

from assay.errors import SpecError
from assay.spec.loading import spec_from
from assay.spec.secrets import hide, resolved


@pytest.fixture(autouse=True)
def _token(monkeypatch):
    monkeypatch.setenv("TEAM_TOKEN", "S3KR1Tvalue")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://mia:S3KR1T@host/x", "see https://***@host/x"),
        ("s3://b/x?X-Amz-Signature=abc&v=1", "s3://b/x?X-Amz-Signature=***&v=1"),
        ("it was S3KR1Tvalue.", "it was ***."),
        ("git@github.com:a/b and ssh://git@github.com/a", "git@github.com:a/b and ssh://git@github.com/a"),
        ("mail mia@example.org about secrets", "mail mia@example.org about secrets"),
    ],
)
def test_texts_lose_their_secrets_and_nothing_else(text, shown):
    assert hide(text) == shown


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"description": "ask https://mia:pw@host"}, r"description: holds a URL with a login"),
        ({"tags": {"owner": "S3KR1Tvalue"}}, r"tags\.owner: holds the value of the environment variable TEAM_TOKEN"),
        (
            {"generated_images": {"source": {"kind": "archive", "api_key": "abc"}}},
            r"generated_images\.source\.api_key: holds a secret; write \$\{NAME\}",
        ),
    ],
)
def test_a_spec_with_a_secret_is_refused_without_telling_it(values, problem):
    with pytest.raises(SpecError, match=problem) as caught:
        spec_from({"task": "regression", **values}, "experiments/x.yaml")
    assert not {"S3KR1T", "mia:pw", "abc"} & set(str(caught.value).split())
    assert "S3KR1T" not in str(caught.value)


def test_names_of_classes_are_no_names_of_secrets():
    mapping = {"token": "coin", "other": "coin2"}
    values = {"task": "classification", "trained_model": {"data_description": {"class_mapping": mapping}}}
    assert spec_from(values, "x").trained_model.data_description.class_mapping == mapping


def test_references_are_read_when_they_are_needed():
    assert resolved({"a": ["${TEAM_TOKEN}", 1], "b": "x"}, "locations.yaml") == {"a": ["S3KR1Tvalue", 1], "b": "x"}
    with pytest.raises(SpecError, match=r"locations\.yaml\.a: the environment variable NOT_THERE is not set"):
        resolved({"a": "${NOT_THERE}"}, "locations.yaml")
