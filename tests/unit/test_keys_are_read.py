"""Nothing can be configured that nobody reads: keys of the spec, variables of the environment."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from assay.spec.base import Section
from assay.spec.experiment import ExperimentSpec

ROOT = Path(__file__).parents[2]
PACKAGES = ("assay", "assets", "resources", "partitions")
CODE = {path: path.read_text() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}


def all_sections(model=ExperimentSpec) -> set[type[BaseModel]]:
    """Return every model of the spec: all subclasses, since each is in some union or field."""
    found, pending = set(), [Section]
    while pending:
        current = pending.pop()
        for child in current.__subclasses__():
            if child not in found and child.__module__.startswith("assay.spec."):
                found.add(child)
                pending.append(child)
    return found | {model}


@pytest.mark.defect("C8")
def test_every_key_of_the_spec_is_read_by_some_code():
    keys = {(model.__name__, key) for model in all_sections() for key in model.model_fields if key != "kind"}
    assert len(keys) > 100
    unread = [f"{model}.{key}" for model, key in sorted(keys) if not is_read(key)]
    assert unread == []


def is_read(key: str) -> bool:
    reads = re.compile(rf"\.{key}\b|\"{key}\"")
    return any(reads.search(text) for text in CODE.values())


@pytest.mark.defect("C8")
def test_variables_of_the_environment_are_documented_and_read():
    readme = (ROOT / "README.md").read_text()
    read = set(re.findall(r"ASSAY_[A-Z]+", "\n".join(CODE.values())))
    assert read == set(re.findall(r"ASSAY_[A-Z]+", readme))
