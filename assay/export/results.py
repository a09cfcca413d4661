"""What every export asks of an experiment, of the user's classes and of the folder that is written.

Belongs here: these questions. Does not belong here: any format.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from assay.errors import DataError
from assay.experiments.contents import stage_results
from assay.results import Result

PREDICTED_ITEMS_FILE = "predicted_items.parquet"


def require_results(root: Path, experiment_id: str, stages: Sequence[str]) -> Mapping[str, Result]:
    """Return the results of an experiment by stage.

    Raises:
        DataError: It lacks one of ``stages``.
    """
    results = stage_results(root, experiment_id)
    missing = [stage for stage in stages if stage not in results]
    if missing:
        raise DataError(
            f"Experiment {experiment_id!r} has no {' and no '.join(missing)} yet. Next: assay run {experiment_id}"
        )
    return results


def require_classes(predicted: Iterable[str], names: Sequence[str], source: str) -> None:
    """Refuse other classes than those of the user's file.

    Raises:
        DataError: A class that was predicted is not among ``names``; ``source`` says where they are from.
    """
    missing = sorted(set(predicted) - set(names))
    if missing:
        raise DataError(f"{source} has no class {', '.join(map(repr, missing))}; it has {', '.join(names)}.")


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        DataError: It does, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder} exists and is not an empty folder; choose another for --to.")
