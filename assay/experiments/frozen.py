"""The spec as it was when a run started, so that an edit during the run can't reach half of it.

Belongs here: freezing and thawing. Does not belong here: who starts runs.
"""

import os
from functools import lru_cache
from pathlib import Path

from assay.files import temporary_sibling, write_text
from assay.spec.experiment import ExperimentSpec
from assay.spec.ids import validate_id
from assay.spec.loading import load_spec
from assay.spec.yaml_text import to_yaml


def frozen_path(root: Path, run_id: str, experiment_id: str) -> Path:
    """Return where a run's copy of a spec is; ``run_id`` is made by Dagster, the experiment ID by users."""
    return root / "runs" / run_id / f"{validate_id(experiment_id)}.yaml"


def freeze(root: Path, run_id: str, experiment_id: str, spec: ExperimentSpec) -> ExperimentSpec:
    """Store the resolved spec under the run's ID, unless the run has one already; return the one that counts."""
    path = frozen_path(root, run_id, experiment_id)
    if not path.exists():
        draft = temporary_sibling(path)
        write_text(draft, to_yaml(spec.as_dict()))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another step of the same run was first
        finally:
            draft.unlink()
    return _load(path)


def frozen(root: Path, run_id: str, experiment_id: str) -> ExperimentSpec | None:
    """Return the run's copy of a spec, or None when the run has none yet."""
    path = frozen_path(root, run_id, experiment_id)
    return _load(path) if path.exists() else None


@lru_cache(maxsize=64)
def _load(path: Path) -> ExperimentSpec:
    """Read a frozen spec; it never changes, and every asset of a run asks for it."""
    return load_spec(path)
