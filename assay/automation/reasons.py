"""Why a run is asked for, in sentences with experiment, key, old and new value."""

from collections.abc import Sequence
from pathlib import Path

from assay.automation.differences import changes_between
from assay.automation.wanted import Versions
from assay.experiments.contents import recorded_spec
from assay.spec.experiment import ExperimentSpec


def reasons_for(
    experiment_id: str, spec: ExperimentSpec, assets: Sequence[str], recorded: Versions, root: Path
) -> tuple[str, ...]:
    """Return one line per key that changed since the experiment's last run; else what is missing or made otherwise."""
    former = recorded_spec(root, experiment_id)
    if former is None or not recorded:
        return ("new experiment",)
    changes = changes_between(former, spec.as_dict(), hidden=spec.remove_key_list)
    if changes:
        return tuple(str(change) for change in changes)
    missing = [asset for asset in assets if asset not in recorded]
    if missing:
        return (f"not there yet: {', '.join(missing)}",)
    return (f"the data or the code behind {assets[0]} changed",)
