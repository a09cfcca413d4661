"""What a result was made from: the inputs' fingerprints, all their ancestors, and the manifest that keeps both.

Belongs here: the head of a manifest. Does not belong here: its list of files (``assay.sealing``).
"""

from collections.abc import Mapping
from typing import Any

from assay.pipeline import STAGES, Slice
from assay.results.result import Result


def fingerprints(inputs: Mapping[str, Result | str]) -> dict[str, str]:
    """Return the fingerprint, or digest, of each input."""
    return {name: value if isinstance(value, str) else value.fingerprint for name, value in inputs.items()}


def manifest_head(spec: Slice, fingerprint: str, lineage: Mapping[str, str]) -> dict[str, Any]:
    """Return the part of a manifest that says what a result was made from."""
    return {
        "stage": spec.stage,
        "fingerprint": fingerprint,
        "code_version": STAGES[spec.stage].code_version,
        "inputs": dict(lineage),
        "section": spec.section.content(),
        "seed": spec.seed,
        "task": spec.task if STAGES[spec.stage].reads_task else None,
    }


def ancestors(inputs: Mapping[str, Result | str]) -> dict[str, str]:
    """Return the fingerprint of every stage that went into these inputs, themselves included."""
    found: dict[str, str] = {}
    for value in inputs.values():
        if isinstance(value, Result):
            found |= {**value.manifest["ancestors"], value.stage: value.fingerprint}
    return found
