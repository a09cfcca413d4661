"""Which experiments belong to a sweep, by the tag in their files."""

from collections.abc import Iterator, Mapping
from typing import Any

from assay.errors import SpecError
from assay.experiments.specs import SpecFiles
from assay.spec.yaml_text import read_mapping

TAG = "sweep"
"""Name of the tag that every experiment of a sweep carries."""


def sweep_members(store: SpecFiles, name: str) -> dict[str, Mapping[str, Any]]:
    """Return the keys of every experiment of a sweep, not validated, by ID."""
    return {member: values for member, values in _tagged(store) if values["tags"][TAG] == name}


def sweep_names(store: SpecFiles) -> list[str]:
    """Return the names of all sweeps."""
    return sorted({str(values["tags"][TAG]) for _, values in _tagged(store)})


def _tagged(store: SpecFiles) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the experiments with the tag; a file without the word is not even parsed, which takes longest."""
    for experiment_id in store.ids():
        path = store.path(experiment_id)
        try:
            text = path.read_text(encoding="utf-8")
            values = read_mapping(text, str(path)) if TAG in text else {}
        except (OSError, UnicodeDecodeError, SpecError):
            continue  # removed meanwhile, or half-saved: `assay validate` tells
        if isinstance(values.get("tags"), Mapping) and TAG in values["tags"]:
            yield experiment_id, values
