"""Whether an experiment's metrics were made with the spec that stands beside them in the tables.

A run that fails in training has stored its new spec already, while the metrics are still those of the run before:
shown together, they would credit the new learning rate with the old accuracy.

Belongs here: comparing specs with what results were made from. Does not belong here: what to do about it.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from assay.errors import StorageError
from assay.results import ResultStore
from assay.sealing import MANIFEST
from assay.spec.dotted import flatten
from assay.spec.experiment import learning_of


def differing_stage(root: Path, folder: Path, spec: Mapping[str, Any]) -> str | None:
    """Return the first stage behind an experiment's metrics whose section differs from ``spec``; None if none does.

    Args:
        root: Storage root.
        folder: The experiment's folder.
        spec: Its resolved spec.

    Raises:
        StorageError: A result that the folder refers to is gone.
    """
    results = json.loads((folder / MANIFEST).read_bytes())["results"]
    if "analysis" not in results:
        return "analysis"
    analysis = _made_from(root, "analysis", results["analysis"])
    for stage, fingerprint in {**analysis["ancestors"], "analysis": results["analysis"]}.items():
        made = _made_from(root, stage, fingerprint)
        if contradict(made["section"], spec.get(stage, {})) or made["task"] not in (None, learning_of(spec)):
            return str(stage)
    return None


@cache
def _made_from(root: Path, stage: str, fingerprint: str) -> dict[str, Any]:
    """Return the manifest of a result; results never change, and experiments share them."""
    return ResultStore(root).open(stage, fingerprint).manifest


def contradict(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether a key that both have differs; a newer version of Assay may know more keys."""
    first, second = flatten(one), flatten(other)
    return any(first[key] != second[key] for key in first.keys() & second.keys())


def why_not_its_own(root: Path, folder: Path, spec: Mapping[str, Any]) -> str:
    """Return why an experiment's metrics don't belong to ``spec``, as the beginning of a sentence; empty if they do."""
    try:
        stage = differing_stage(root, folder, spec)
    except (StorageError, FileNotFoundError):
        return "its results are incomplete"
    return f"its last run did not finish ({stage} is of an earlier spec)" if stage else ""
