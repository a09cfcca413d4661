"""One row per experiment: what the table ``experiments`` says about it."""

from typing import Any

from assay.experiments.folders import ExperimentFolder
from assay.files import canonical_json
from assay.spec.experiment import ExperimentSpec


def experiment_row(experiment_id: str, spec: ExperimentSpec, folder: ExperimentFolder) -> dict[str, Any]:
    """Return plain columns for what people filter by, and the whole spec as JSON for everything else."""
    return {
        "task": spec.task,
        "name": spec.name,
        "description": spec.description,
        "tags": canonical_json(spec.tags),
        "seed": spec.seed,
        "source": spec.generated_images.source.kind,
        "run_id": folder.run_id,
        "folder": str(folder.path),
        "spec": canonical_json(spec.as_dict()),
    }
