"""Experiments whose folder is kept at another location too: a copy that follows every change.

Belongs here: when a folder has such a copy, and bringing it up to date. Does not belong here: how (``updating``).
"""

from assay.experiments.folders import ExperimentFolder
from assay.locations.places import Locations, reaching
from assay.locations.tree import Tree
from assay.locations.updating import Written, bring
from assay.locks import hold
from assay.sealing import MANIFEST


def keep_elsewhere(locations: Locations, folder: ExperimentFolder) -> Written | None:
    """Bring the copy of an experiment's folder up to date, if its ``exp_out_location`` is outside of the storage.

    Returns:
        What was written; None when the folder is the storage's own, or has no results yet.

    Raises:
        StorageError: The location can't be reached or written; nothing there looks finished that is not.
    """
    name = folder.path.relative_to(locations.root).parts[0]
    if not locations.is_elsewhere(name) or not (folder.path / MANIFEST).is_file():
        return None
    location = locations.open(name)
    lock = f"experiments/{folder.experiment_id}"
    with hold(locations.root / "locks", lock, "write", f"copying to {name}"), reaching(name):
        return bring(Tree.of(folder.path), location.tree.below(folder.path.name))
