"""Test kind ``files_exist``: named files and folders, and all that the manifest lists, are there and whole.

Belongs here: looking at names and sizes. Does not belong here: hashing (the result store's verification does it).
"""

import json
from pathlib import Path

from assay.checks.result import ExperimentFiles, TestResult, not_materialized, shortened, verdict
from assay.sealing import MANIFEST
from assay.spec.exptest_kinds import FilesExistTest


def check_files_exist(test: FilesExistTest, files: ExperimentFiles) -> TestResult:
    """Look below the experiment's folder, at any depth."""
    named = [*test.files, *(f"{name}/" for name in test.folders)]
    expected = ", ".join(named) or "the files of the manifest"
    folder = files.experiment_folder
    if folder is None or not folder.is_dir():
        return not_materialized(test, "experiment", expected)
    problems = [problem for name in test.files for problem in _file_problems(folder, name)]
    problems += [problem for name in test.folders for problem in _folder_problems(folder / name, name)]
    problems += _manifest_problems(folder)
    count = sum(path.is_file() for path in folder.rglob("*"))
    measured = f"{count} files, {len(problems)} problem(s)"
    description = f"{shortened(problems)}." if problems else f"All there, among {count} files in {folder}."
    return verdict(test, not problems, description, measured=measured, expected=expected)


def _file_problems(folder: Path, pattern: str) -> list[str]:
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        return [f"no file {pattern}"]
    return [f"{path.relative_to(folder).as_posix()} is empty" for path in found if path.stat().st_size == 0]


def _folder_problems(folder: Path, name: str) -> list[str]:
    if not folder.is_dir():
        return [f"no folder {name}"]
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if not found:
        return [f"folder {name} holds no file"]
    empty = [path.relative_to(folder).as_posix() for path in found if path.stat().st_size == 0]
    return [f"{name}/{path} is empty" for path in empty]


def _manifest_problems(folder: Path) -> list[str]:
    path = folder / MANIFEST
    entries = json.loads(path.read_text(encoding="utf-8"))["files"] if path.is_file() else {}
    problems = []
    for name, entry in sorted(entries.items()):
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size is None:
            problems.append(f"{name} is in the manifest but missing")
        elif size != entry["size_bytes"]:
            problems.append(f"{name} has {size} bytes, the manifest says {entry['size_bytes']}")
    return problems
