"""Pictures of one experiment, as files that a run made.

Belongs here: which there are, in what order, and what each shows. Does not belong here: drawing, showing.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from assay.errors import StorageError
from assay.experiments.contents import stage_results
from assay.experiments.folders import ExperimentFolders
from assay.natural import natural_key

DATA_STAGES = ("generated_images", "splits", "crops", "tabular", "normalized")
PLACES = {
    "Analysis": "analysis/pictures",
    "Predictions": "predictions/pictures",
    "Training": "pictures",
}
"""Folders of pictures in an experiment's own folder, what people look for first."""

NET_DATA = "net_data"
EPOCH = re.compile(r"epoch_(\d+)\.(png|parquet)")


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        title: What it shows.
        path: Its PNG file; a run may replace it at any moment.
    """

    title: str
    path: Path

    def read(self) -> bytes | None:
        """Return its content; None when it is gone."""
        try:
            return self.path.read_bytes()
        except OSError:
            return None


def pictures_of(root: Path, experiment_id: str) -> dict[str, list[Picture]]:
    """Return the pictures of an experiment by heading: of its outcome first, of its data last."""
    folder = ExperimentFolders(root).find(experiment_id)
    groups = {heading: _in(folder.path / place) for heading, place in PLACES.items()} if folder else {}
    groups["Data"] = _of_data(root, experiment_id)
    return {heading: pictures for heading, pictures in groups.items() if pictures}


def net_data_of(root: Path, experiment_id: str) -> dict[int, Path]:
    """Return what the network really saw, by epoch: a picture, or a table for rows that are no pixels."""
    folder = ExperimentFolders(root).find(experiment_id)
    found = sorted((folder.path / NET_DATA).glob("*")) if folder else []
    epochs = ((EPOCH.fullmatch(path.name), path) for path in found)
    return {int(match.group(1)): path for match, path in epochs if match}


def _of_data(root: Path, experiment_id: str) -> list[Picture]:
    with suppress(StorageError, OSError):  # results that are being replaced, or were deleted
        results = stage_results(root, experiment_id)
        return list(_named(path for stage in DATA_STAGES if stage in results for path in results[stage].pictures))
    return []


def _in(folder: Path) -> list[Picture]:
    return list(_named(sorted(folder.glob("*.png"), key=lambda path: natural_key(path.stem))))


def _named(paths: Iterable[Path]) -> Iterable[Picture]:
    for path in paths:
        yield Picture(path.stem.replace("_", " ").capitalize(), path)
