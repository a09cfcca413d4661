"""A storage photographed before every event of a run: each photograph is whole, and a run that goes on from it arrives.

Seed 0 judges all photographs: what has a manifest has every file in it, with size and SHA-256; a table's current
version is one readable file; whoever looks for garbage finds no damage. Every other seed takes one photograph, asks of
it what users ask (show, compare, SQL, garbage), lets a new process run the experiment, and compares the bytes with
those of the undisturbed run. ``ASSAY_PHOTOGRAPHED`` names another spec than the small one.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import polars as pl

from assay.errors import AssayError
from assay.experiments.garbage import survey
from assay.experiments.specs import SpecFiles
from assay.storage.files import MANIFEST
from assay.storage.partitions import find_tables
from tests.campaigns.campaign import Tried, command
from tests.helpers.photographer import copy_storage, own_temporary_folder
from tests.helpers.projects import ROOT, Project, digests, make_project

TINY = """\
task: regression
generated_images:
  source: {kind: numbers, sample_count: 12, img_size: {width: 96, height: 96}, max_amount: 2}
trained_model:
  train_params: {epochs: 2}
analysis:
  result_analyzer: {bootstrap_samples: 50}
exptests: {tests: [{kind: models_saved}]}
"""


@cache
def photographed() -> tuple[Project, Path, list[str]]:
    """Run the experiment once per process; returns its project, the folder of the photographs, and their events."""
    folder = Path(tempfile.mkdtemp(prefix="photographs-"))
    project = make_project(folder)
    chosen = os.environ.get("ASSAY_PHOTOGRAPHED")
    project.write("tiny", Path(chosen).read_text() if chosen else TINY)
    shutil.copytree(folder / "home", folder / "untouched-home")
    photographs = folder / "photographs"
    photographs.mkdir()
    run(project, "-m", "tests.helpers.photographer", str(project.storage), str(photographs), "run", "tiny")
    copy_storage(project.storage, photographs / "end")
    return project, photographs, (photographs / "events.txt").read_text().splitlines()


def run(project: Project, *arguments: str) -> str:
    """Run Python in a project; returns what it printed.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=project.environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[-2:]}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout


class Judge:
    """Judges photographs; files that were hashed once are known by inode and time."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, int], str] = {}

    def _digest(self, path: Path) -> str:
        status = path.stat()
        key = (status.st_ino, status.st_mtime_ns, status.st_size)
        if key not in self._known:
            self._known[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._known[key]

    def problems(self, storage: Path, specs: Path) -> list[str]:
        """Return what is half there; empty if everything that can be seen is whole."""
        manifests = [path for path in storage.rglob(MANIFEST) if "/.tmp-" not in str(path) and not _is_part(path)]
        found = [problem for path in manifests for problem in self._of_manifest(path)]
        for path in [*storage.glob("experiments_index/*.json"), *storage.glob("pointers/*/*.json")]:
            if not path.name.startswith(".tmp-"):
                json.loads(path.read_bytes())
        for table in find_tables(storage):
            for key in table.versions:
                try:
                    table.file(key).read()
                except (AssayError, pl.exceptions.PolarsError) as error:
                    found.append(f"{table.full_name} {key}: {error}")
        _, doubts = survey(storage, SpecFiles(specs, storage))
        return found + [doubt for doubt in doubts if "has results, but no" not in doubt and "nobody knows" not in doubt]

    def _of_manifest(self, path: Path) -> list[str]:
        problems = []
        for name, entry in json.loads(path.read_bytes())["files"].items():
            file = path.parent / name
            if not file.is_file():
                problems.append(f"{file} is missing")
            elif (file.stat().st_size, self._digest(file)) != (entry["size_bytes"], entry["sha256"]):
                problems.append(f"{file} is another file than {path} says")
        return problems


def _is_part(path: Path) -> bool:
    return path.parent.parent.name == "results"  # the manifest of a stage, in an experiment's folder


def judge_all() -> Tried:
    """Judge every photograph of the run."""
    project, photographs, events = photographed()
    judge, specs = Judge(), project.folder / "experiments"
    for number, event in enumerate(events):
        try:
            problems = judge.problems(photographs / f"{number:05d}", specs)
        except Exception as error:
            problems = [f"{type(error).__name__}: {error}"]
        if problems:
            return Tried(f"judged, of {len(events)}", f"before event {number} ({event}): {problems[0]}")
    return Tried(f"judged, of {len(events)}")


def go_on(number: int) -> Tried:
    """Go on from a photograph."""
    origin, photographs, events = photographed()
    with tempfile.TemporaryDirectory(prefix="goes-on-") as folder:
        project = Project(Path(folder))
        shutil.copytree(origin.folder / "experiments", project.folder / "experiments")
        shutil.copytree(origin.folder / "untouched-home", project.folder / "home")
        shutil.copytree(photographs / f"{number:05d}", project.storage, symlinks=True)
        try:
            run(project, "-m", "tests.campaigns.photographs", "ask")
            run(project, "-m", "tests.campaigns.photographs", "run")
        except RuntimeError as error:
            return Tried("continued", f"before event {number} ({events[number]}): {error}")
        different = _differences(project.storage, photographs / "end")
    return Tried("continued", f"before event {number} ({events[number]}): {different}" if different else "")


def _differences(storage: Path, wanted: Path) -> str:
    for what in (digests, _published):
        one, other = what(storage), what(wanted)
        names = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
        if names:
            return f"{len(names)} differ: {names[:3]}"
    return ""


def _published(storage: Path) -> dict[str, object]:
    (manifest,) = storage.glob(f"experiments/*/{MANIFEST}")
    content = json.loads(manifest.read_bytes())
    return {**content["results"], **{name: entry["sha256"] for name, entry in content["files"].items()}}


def ask() -> None:
    """Ask the storage of this process what users ask; whatever is not there yet is said, and nothing else fails."""
    from assay.cli.main import app

    for arguments in (["gc", "--dry-run"], ["compare"], ["sql", "show tables"], ["show", "tiny"]):
        try:
            app(arguments, standalone_mode=False)
        except AssayError as error:
            print(arguments, str(error))


def attempt(seed: int) -> Tried:
    """Judge all photographs, or go on from one."""
    if seed == 0:
        return judge_all()
    return go_on(random.Random(seed).randrange(len(photographed()[2])))


if __name__ == "__main__":
    if sys.argv[1:] == ["ask"]:
        ask()
    elif sys.argv[1:] == ["run"]:
        from assay.cli.main import script

        sys.argv.append("tiny")
        script()
    else:
        with own_temporary_folder():
            command(attempt, count=61, deadline_s=600)
