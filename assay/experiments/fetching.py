"""Results of an experiment at another location, brought into this storage one stage at a time.

Belongs here: copying just the files of one result. Does not belong here: whole experiments (``importing``).
"""

import json
import shutil

from assay.errors import StorageError
from assay.experiments.folders import RESULTS
from assay.experiments.restoring import restore_result
from assay.locations import Locations
from assay.locations.file_copies import side_by_side
from assay.locations.places import reaching
from assay.locations.tree import Tree
from assay.locations.updating import put
from assay.locks import hold
from assay.results import Result, ResultStore
from assay.sealing import MANIFEST, require_inner_names
from assay.spec.existing_experiment import FoundExperiment


def fetch_result(locations: Locations, found: FoundExperiment, stage: str, output_location: str) -> Result:
    """Return a result of the experiment that was found: from this storage, or copied from where it is.

    What a call that was cut off had copied is found by the next.

    Args:
        locations: The places that the project knows.
        found: The experiment, and which results of it.
        stage: ``trained_model`` or ``normalized``.
        output_location: Folder below the storage root for a result that has to be copied.

    Raises:
        StorageError: It is not here and can't be copied, or the experiment there has another one by now.
    """
    store = ResultStore(locations.root)
    fingerprint = {"trained_model": found.model, "normalized": found.scaling}[stage]
    known = store.find(stage, fingerprint)
    if known is not None:
        return known
    name, _, folder = found.folder.partition("/")
    location = locations.open(name)
    here = Tree.of(locations.root / "adopted" / ".fetched" / fingerprint)
    lock = f"adopted/{fingerprint}"
    with hold(locations.root / "locks", lock, "write", f"copying from {name}"), reaching(name):
        _copy(location.tree.below(folder), here, stage, fingerprint)
        result = restore_result(here.as_path, stage, store, output_location)
        shutil.rmtree(here.as_path)
    return result


def _copy(source: Tree, here: Tree, stage: str, fingerprint: str) -> None:
    manifest = json.loads(source.read(MANIFEST) or b"{}")
    if manifest.get("results", {}).get(stage) != fingerprint:
        raise StorageError(
            f"{source.shown} has no {stage} {fingerprint} any more, and neither has this storage. Evaluate what it has "
            "now: make another experiment."
        )
    files = {name: entry["sha256"] for name, entry in manifest["files"].items() if entry["stage"] == stage}
    require_inner_names(files, source.shown)
    list(side_by_side(lambda name: put(source, here, name, name, files[name]), files))
    for name in (MANIFEST, f"{RESULTS}/{stage}/{MANIFEST}"):
        here.take(source, name, name)
