"""One row per experiment: what the table ``experiments`` says about it."""

from typing import Any

from assay.experiments.folders import ExperimentFolder
from assay.files import canonical_json
from assay.spec.experiment import ExperimentSpec


def experiment_row(experiment_id: str, spec: ExperimentSpec, folder: ExperimentFolder | None) -> dict[str, Any]:
    """Return plain columns for what people filter by, and the whole spec as JSON for everything else.

    Args:
        experiment_id: Whose row it is.
        spec: What the experiment is.
        folder: Its folder; None for an experiment that was never run.
    """
    return {
        "task": spec.task,
        "name": spec.name,
        "description": spec.description,
        "tags": canonical_json(spec.tags),
        "seed": spec.seed,
        "source": spec.generated_images.source.kind,
        "evaluates": spec.found.experiment_id if spec.found else "",
        "run_id": folder.run_id if folder else None,
        "folder": str(folder.path) if folder else None,
        "spec": canonical_json(spec.as_dict()),
    }
