"""A hostile spec file, or hostile data, beside a good experiment: whatever looks at all experiments sees the good one.

These are two passes of automation, and what the commands ``validate``, ``backfill``, ``compare``, ``sweep`` and ``gc``
do with all spec files. Orchestrator and storage are empty, so each of them must find exactly one experiment to run.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from assay.automation.reconcile import EndedRun, Plan, Reconciliation
from assay.automation.state import AutomationState, load_state
from assay.backfills.selection import select_experiments
from assay.comparison.load import collect
from assay.comparison.ranking import chosen_ids, rank
from assay.experiments.garbage import find_garbage
from assay.experiments.specs import SpecFiles
from assay.experiments.sweeps import sweep_members
from tests.campaigns.campaign import Tried, command
from tests.campaigns.hostile_specs import CASES

GOOD = "task: regression\ntags: {sweep: grid}\n"
PASS_S = 3.0
"""Time of a pass: short, because some of the data have no end."""


def _chain(folder: Path) -> str:
    """Make folders inside each other, more than Python's stack has room for."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    return str(folder / "d")


def _multiplying(folder: Path) -> str:
    """Make folders that links reach in 2^40 ways."""
    for level in range(40):
        (folder / f"l{level}").mkdir()
    for level in range(39):
        for name in ("a", "b"):
            (folder / f"l{level}" / name).symlink_to(folder / f"l{level + 1}")
    return str(folder / "l0")


def _loop(folder: Path) -> str:
    (folder / "loop").symlink_to(folder / "loop")
    return str(folder / "loop")


def _within_itself(folder: Path) -> str:
    (folder / "data").mkdir()
    (folder / "data" / "again").symlink_to(folder / "data")
    return str(folder / "data")


def _pipes(folder: Path) -> str:
    (folder / "cat").mkdir()
    os.mkfifo(folder / "cat" / "a.png")
    (folder / "cat" / "b.png").symlink_to("/dev/zero")
    return str(folder)


def _pipe(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        os.mkfifo(folder / name)
        return str(folder / name)

    return make


def _odd_names(folder: Path) -> str:
    for name in (b"\xff.png", b"\x1b[31m.png", b"a\nb.png"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(b"")  # noqa: PTH118
    return str(folder)


def _at(path: str) -> Callable[[Path], str]:
    return lambda folder: path


TABLE = "{{kind: table, path: {path!r}, target_column: y}}"
IMAGES = "{{kind: image_folder, path: {path!r}}}"
COCO, YOLO, MASKS = (IMAGES.replace("image_folder", kind) for kind in ("coco", "yolo", "masks"))

SOURCES: dict[str, tuple[str, Callable[[Path], str]]] = {
    "the whole disk": (IMAGES, _at("/")),
    "all programs": (IMAGES, _at("/usr")),
    "all processes": (IMAGES, _at("/proc")),
    "the root of this process": (IMAGES, _at("/proc/self/root")),
    "all devices": (IMAGES, _at("/dev")),
    "the kernel": (MASKS, _at("/sys")),
    "COCO on the whole disk": (COCO, _at("/")),
    "YOLO on the whole disk": (YOLO, _at("/")),
    "a path of 4,000 characters": (IMAGES, _at("/tmp/" + "a/" * 2000)),  # noqa: S108
    "a home of nobody": (IMAGES, _at("~nobody-has-this-name/x")),
    "a path that does not exist": (IMAGES, _at("/no/such/place")),
    "a path below a file": (IMAGES, _at("/etc/passwd/x")),
    "a device for a table": (TABLE, _at("/dev/zero/x.csv")),
    "a pipe for a table": (TABLE, _pipe("rows.csv")),
    "a pipe for COCO": (COCO, _pipe("a.json")),
    "1,500 folders inside each other": (IMAGES, _chain),
    "links that multiply": (IMAGES, _multiplying),
    "a link to itself": (IMAGES, _loop),
    "a folder within itself": (IMAGES, _within_itself),
    "pipes and devices as images": (IMAGES, _pipes),
    "names that are no text": (IMAGES, _odd_names),
}

NAMES: dict[str, bytes] = {
    "an ID that is none": b"A B",
    "a name that is no UTF-8": b"\xff\xfe",
    "a name that acts on a terminal": b"\x1b[31mred",
    "a name with a line break": b"a\nb",
    "a name of 250 characters": b"a" * 250,
    "a reserved name": b"latest",
}

KINDS = (
    *(f"file: {case.kind}" for case in CASES),
    *(f"data: {kind}" for kind in SOURCES),
    *(f"name: {kind}" for kind in NAMES),
)


class NothingRuns:
    """Run records of an orchestrator that never ran anything."""

    def active(self, experiment_ids: Collection[str]) -> set[str]:
        return set()

    def active_count(self) -> int:
        return 0

    def unsuccessful(self, experiment_ids: Collection[str]) -> Mapping[str, EndedRun]:
        return {}

    def recorded(self, experiment_ids: Collection[str]) -> Mapping[str, Mapping[str, str]]:
        return {}


def make_project(folder: Path, kind: str) -> SpecFiles:
    """Write a good experiment, and a hostile one that was saved later, so that it is looked at first."""
    specs = SpecFiles(folder / "experiments", folder / "storage")
    specs.folder.mkdir()
    (specs.folder / "good.yaml").write_text(GOOD)
    what, _, name = kind.partition(": ")
    path = specs.folder / "bad.yaml"
    if what == "file":
        next(case for case in CASES if case.kind == name).write(path)
    elif what == "data":
        source, make = SOURCES[name]
        (folder / "data").mkdir()
        path.write_text(
            f"task: classification\ngenerated_images: {{source: {source.format(path=make(folder / 'data'))}}}\n"
        )
    else:
        Path(os.fsdecode(os.path.join(os.fsencode(specs.folder), NAMES[name] + b".yaml"))).write_text(GOOD)  # noqa: PTH118
    for age, each in enumerate(sorted(specs.folder.iterdir(), key=lambda each: each.name == "good.yaml")):
        moment = time.time() - 100 - age
        os.utime(each, (moment, moment), follow_symlinks=False)
    return specs


def look(state: AutomationState, specs: SpecFiles) -> tuple[AutomationState, Plan]:
    """Make a pass of automation; the state goes through its text form, as between two ticks."""
    reconciliation = Reconciliation(load_state(state.dump()), specs, NothingRuns(), pass_s=PASS_S)
    plan = reconciliation.reconcile("1")
    return reconciliation.state, plan


def try_neighbour(seed: int) -> Tried:
    """Look at all experiments beside a hostile one."""
    kind = KINDS[seed % len(KINDS)]
    folder = tempfile.mkdtemp()
    try:
        specs = make_project(Path(folder), kind)
        return Tried(kind, _automation(specs) or _commands(specs))
    finally:
        subprocess.run(["rm", "-rf", folder], check=True)  # which needs no stack for folders inside each other


def _automation(specs: SpecFiles) -> str:
    state, first = look(AutomationState(), specs)
    _, second = look(state, specs)
    asked = [request.experiment_id for request in (*first.requests, *second.requests)]
    others = {name for name in {*asked, *first.problems} if name != "good"}
    if asked.count("good") != 1:
        return f"the good one is requested {asked.count('good')} times: {first.problems}, {first.notes}"
    return "" if others or "latest" in str(first.notes) else f"nobody hears of the hostile one: {first}"


def _commands(specs: SpecFiles) -> str:
    root = specs.root
    found = {
        "backfill": list(select_experiments(specs, root).specs),
        "compare": [entry.experiment_id for ranking in rank(_compared(specs)) for entry in ranking.others],
        "sweep": list(sweep_members(specs, "grid")),
        "gc": ["good"] if find_garbage(root, specs) == [] else [],
    }
    return ", ".join(f"{name} does not find it" for name, names in found.items() if "good" not in names)


def _compared(specs: SpecFiles):
    return collect(specs.root, specs, chosen_ids(specs.root, specs, [], None, None), "test")


if __name__ == "__main__":
    command(try_neighbour, count=len(KINDS), deadline_s=120)
