"""Results put together again from an experiment's folder that came from somewhere else.

Belongs here: from the folder's files back to result folders. Does not belong here: how the folder came here.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from assay.errors import StorageError
from assay.experiments.folders import PLACES, RESULTS, folder_name
from assay.files import fsync_path, temporary_sibling
from assay.locks import hold
from assay.pipeline import FINGERPRINT_LENGTH
from assay.results import Result, ResultStore
from assay.sealing import MANIFEST, is_complete, put_in_place, require_inner_names, sweep

FINGERPRINT = re.compile(rf"[0-9a-f]{{{FINGERPRINT_LENGTH}}}")


def restore_results(folder: Path, store: ResultStore, output_location: str) -> dict[str, Result]:
    """Return the results whose files an experiment's folder has, by stage, made in ``store`` where they are missing.

    Args:
        folder: An experiment's folder, its files compared with its manifest already.
        store: Where the results are to be.
        output_location: Folder below the storage root.

    Raises:
        StorageError: A manifest is damaged, or does not fit the folder's own.
    """
    manifest = json.loads((folder / MANIFEST).read_bytes())
    return {
        stage: restore_result(folder, stage, store, output_location)
        for stage in PLACES
        if stage in manifest["results"] and (folder / RESULTS / stage / MANIFEST).is_file()
    }


def restore_result(folder: Path, stage: str, store: ResultStore, output_location: str) -> Result:
    """Return one stage's result, found in ``store`` or put together from an experiment's folder; see above."""
    fingerprint, files = _require_whole(folder, stage)
    target = store.root / output_location / stage / fingerprint
    with hold(store.lock_folder, f"{stage}/{fingerprint}", "write", "importing"):
        if not is_complete(target):
            _link_together(folder, stage, files, target)
    return Result(stage, fingerprint, target)


def _require_whole(folder: Path, stage: str) -> tuple[str, list[str]]:
    """Return fingerprint and files of a stage's result, if the folder has them all as its own manifest lists them."""
    whole = json.loads((folder / MANIFEST).read_bytes())
    own: dict[str, Any] = json.loads((folder / RESULTS / stage / MANIFEST).read_bytes())
    fingerprint = str(own.get("fingerprint"))
    require_inner_names(own["files"], f"The manifest of {stage} in {folder}")
    if own["stage"] != stage or fingerprint != whole["results"][stage] or not FINGERPRINT.fullmatch(fingerprint):
        raise StorageError(f"{folder}: the manifest of {stage} is of {own['stage']} {fingerprint}. It is not used.")
    for name, entry in own["files"].items():
        listed = whole["files"].get(folder_name(stage, name), {})
        if listed.get("sha256") != entry["sha256"]:
            raise StorageError(f"{folder}: {name} of {stage} is missing, or another file than its manifest says.")
    return fingerprint, list(own["files"])


def _link_together(folder: Path, stage: str, names: list[str], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    temporary = temporary_sibling(target)
    try:
        for name in names:
            _link(folder / folder_name(stage, name), temporary / name)
        _link(folder / RESULTS / stage / MANIFEST, temporary / MANIFEST)
        for path in [*temporary.rglob("*"), temporary]:
            fsync_path(path)
        put_in_place(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
