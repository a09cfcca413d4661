"""Folders of a stranger, and places to copy to, crafted to lead out of themselves: refused, or used, but never obeyed.

Each seed takes one crafted folder (``tests.helpers.crafted``) and one thing that people do with folders of others:
import, evaluate, list, copy, download, pack, report; or a good folder and a crafted place to copy it to. What is
refused leaves nothing behind; what is used consists of regular files of the folder, each with the SHA-256 of its
manifest.
"""

import hashlib
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from assay.dashboard.report import write_report
from assay.dashboard.server import zip_experiment
from assay.errors import AssayError
from assay.experiments.catalog import experiments_at
from assay.experiments.contents import stage_results
from assay.experiments.copying import CopyRequest, copy_experiment, pack_experiment
from assay.experiments.evaluation import with_source_values
from assay.experiments.garbage import survey
from assay.experiments.importing import fetch_result, import_experiment, import_pack
from assay.experiments.specs import SpecFiles
from assay.spec.loading import spec_from
from assay.spec.yaml_text import to_yaml
from assay.storage.files import entries_below, write_json
from assay.storage.locations.config import Locations
from assay.storage.results import verify
from tests.campaigns.campaign import Tried, command
from tests.helpers.crafted import CHANGES, SECRET, Change, link, pipe, put, text
from tests.helpers.photographer import own_temporary_folder
from tests.helpers.projects import ROOT

ARCHIVE = ROOT / "tests" / "data" / "storage-0.1.0.tar.xz"
GOOD = "softmax"
"""The good neighbour of the crafted folder."""


@cache
def originals() -> Path:
    """Return the experiments of a former version, unpacked once per process."""
    folder = Path(tempfile.mkdtemp(prefix="crafted-"))
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "storage" / "experiments"


def original(experiment_id: str) -> Path:
    (found,) = originals().glob(f"*-id_{experiment_id}")
    return found


@dataclass(frozen=True)
class Place:
    """A storage without experiments, a location with a crafted folder and a good one, and a folder outside of both."""

    folder: Path

    @property
    def storage(self) -> Path:
        return self.folder / "storage"

    @property
    def outside(self) -> Path:
        return self.folder / "outside"

    @property
    def crafted(self) -> Path:
        return self.folder / "stranger" / original("reg").name

    @property
    def locations(self) -> Locations:
        return Locations(self.folder / "locations.yaml", self.storage)

    @property
    def specs(self) -> SpecFiles:
        return SpecFiles(self.folder / "experiments", self.storage, self.locations)


def make_place(folder: Path, change: Change) -> Place:
    place = Place(folder)
    for name in ("storage", "experiments", "stranger", "archive", "outside/deep"):
        (folder / name).mkdir(parents=True)
    put(place.outside / "secret", SECRET)
    put(place.outside / "deep" / "secret", SECRET)
    urls = {name: {"url": str(folder / name)} for name in ("stranger", "archive")}
    (folder / "locations.yaml").write_text(to_yaml(urls))
    for name in ("reg", GOOD):
        shutil.copytree(original(name), folder / "stranger" / original(name).name)
    change(place.crafted, place.outside)
    return place


def pictured(folder: Path, but: str = "locks") -> dict[str, object]:
    """Return everything below a folder: kind, target of links, SHA-256 of files up to 1 MB."""
    found: dict[str, object] = {}
    for name, status in entries_below(folder):
        path = folder / name
        if stat.S_ISLNK(status.st_mode):
            found[name] = os.readlink(path)  # noqa: PTH115
        elif stat.S_ISREG(status.st_mode) and status.st_size < 2**20:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = (stat.S_IFMT(status.st_mode), status.st_size)
    return {name: value for name, value in found.items() if not name.startswith(f"{but}/")}


def secrets_in(folder: Path) -> list[str]:
    secret = hashlib.sha256(SECRET).hexdigest()
    return [name for name, value in pictured(folder).items() if value == secret]


def imports(place: Place) -> str:
    """Import the crafted folder: all of it, or nothing of it."""
    before = pictured(place.folder / "experiments") | pictured(place.storage)
    try:
        import_experiment(place.specs, place.locations.open("stranger"), "reg")
    except AssayError as error:
        left = (pictured(place.folder / "experiments") | pictured(place.storage)).keys() - before.keys()
        return f"refused, but left {sorted(left)[:3]}" if left else _unclear(error)
    if "reg" not in place.specs.ids():
        return "imported without a spec file"
    place.specs.load("reg")
    for result in stage_results(place.storage, "reg").values():
        if problems := verify(result):
            return f"{result.stage}: {problems[0]}"
        str(result.report)
    garbage, problems = survey(place.storage, place.specs)
    return "; ".join([*problems, *(f"garbage {each.path}" for each in garbage)])


def evaluates(place: Place) -> str:
    """Evaluate the model in the crafted folder, and fetch it."""
    reference = {"experiment_id": "reg", "location": "stranger"}
    try:
        values = with_source_values(place.locations, "judge", {"task": "regression", "existing_experiment": reference})
        found = spec_from(values, "judge").found
        assert found is not None
        result = fetch_result(place.locations, found, "trained_model", "data")
    except AssayError as error:
        left = [name for name in pictured(place.storage) if name != "adopted/judge.yaml"]
        return f"refused, but left {left[:3]}" if left else _unclear(error)
    return "; ".join(verify(result))


def lists(place: Place) -> str:
    """List the location: the crafted folder hides no good one."""
    found = experiments_at(place.locations.open("stranger"))
    return "" if GOOD in {each.experiment_id for each in found if each.finished} else f"only {found}"


def copies(place: Place) -> str:
    """Copy the crafted folder to another location."""
    try:
        copy_experiment(place.specs, place.locations, CopyRequest("reg", "stranger", "archive"))
    except AssayError as error:
        return _unclear(error)
    return _differences(place)


def make_own(place: Place) -> None:
    """Make the crafted folder one of the storage's own, without files that would take minutes."""
    folder = place.storage / "experiments" / place.crafted.name
    folder.parent.mkdir()
    place.crafted.rename(folder)
    write_json(
        place.storage / "experiments_index" / "reg.json", {"run_id": "r", "folder": f"experiments/{folder.name}"}
    )
    large = [name for name, status in entries_below(folder) if status.st_size > 2**27]
    for name in large:
        (folder / name).unlink()


def packs(place: Place) -> str:
    """Pack the crafted folder as one of the storage's own, and import the pack elsewhere."""
    make_own(place)
    pack, other = place.folder / "archive" / "reg.zip", place.folder / "other"
    specs = SpecFiles(other / "experiments", other / "storage", Locations(other / "locations.yaml", other / "storage"))
    try:
        pack_experiment(place.specs, "reg", pack)
    except AssayError as error:
        return "refused, but left a pack" if pack.exists() else _unclear(error)
    with zipfile.ZipFile(pack) as archive:
        if held := [name for name in archive.namelist() if archive.read(name) == SECRET]:
            return f"holds {held}"
    try:
        import_pack(specs, pack)
    except AssayError as error:
        left = list(pictured(other / "storage")) if (other / "storage").exists() else []
        return f"refused, but left {sorted(left)[:3]}" if left else _unclear(error)
    return "; ".join(problem for result in stage_results(specs.root, "reg").values() for problem in verify(result))


def reports(place: Place) -> str:
    """Write a page about the crafted folder as one of the storage's own."""
    make_own(place)
    try:
        page = write_report(place.storage, "reg").read_bytes()
    except AssayError as error:
        return _unclear(error)
    return "shows a secret" if SECRET in page or len(page) > 5_000_000 else ""


def downloads(place: Place) -> str:
    """Download the crafted folder as one of the storage's own."""
    make_own(place)
    try:
        with zip_experiment(place.storage, "reg") as file, zipfile.ZipFile(file) as archive:
            held = [name for name in archive.namelist() if archive.read(name) == SECRET]
    except AssayError as error:
        return _unclear(error)
    return f"holds {held}" if held else ""


def _unclear(error: AssayError) -> str:
    return "" if len(str(error)) < 3000 and str(error).strip() else f"an error of {len(str(error))} characters"


def _differences(place: Place) -> str:
    """Return what of the copied folder is missing in the archive, or is another file."""
    source, target = place.crafted, place.folder / "archive" / place.crafted.name
    wanted = {name: value for name, value in pictured(source).items() if not name.startswith((".tmp-", ".sha256"))}
    found = pictured(target)
    wrong = [name for name, value in wanted.items() if found.get(name) != value]
    return f"copied, but {wrong[:3]} differ" if wrong else ""


def is_told_otherwise(folder: Path, outside: Path) -> None:
    """Flip a byte of a finished copy, whose notes say that it was compared."""
    content = bytearray((folder / "model.json").read_bytes())
    content[7] ^= 1
    put(folder / "model.json", bytes(content))


def hard_link(folder: Path, outside: Path) -> None:
    (folder / "model.json").unlink()
    os.link(outside / "secret", folder / "model.json")


def notes(content: str) -> Change:
    return text(".incoming/pending.json", content)


def without_manifest(change: Change) -> Change:
    def changed(folder: Path, outside: Path) -> None:
        change(folder, outside)
        (folder / "manifest.json").unlink()

    return changed


def _moved_out(folder: Path, outside: Path) -> None:
    shutil.move(folder, outside / "deep")
    folder.symlink_to(outside / "deep" / folder.name)


TARGETS: dict[str, Change] = {
    "untouched": lambda _folder, _outside: None,
    "a flipped byte": is_told_otherwise,
    "the folder is a link": _moved_out,
    "a folder is a link": link("models", "OUT/deep"),
    "a file is a link": link("model.json", "OUT/secret"),
    "the manifest is a link": link("manifest.json", "OUT/secret"),
    "the description is a link": link("experiment_info.yaml", "OUT/secret"),
    "the sums are a link": link(".sha256.json", "OUT/secret"),
    "what arrives is a link": link(".incoming", "OUT/deep"),
    "pending is a link": link(".incoming/pending.json", "OUT/secret"),
    "pending is a pipe": pipe(".incoming/pending.json"),
    "a temporary link": link(".tmp-1-0123456789ab-x", "OUT/secret"),
    "moves out": notes('{"move": ["../../outside/new"], "remove": []}'),
    "moves to /": notes('{"move": ["/tmp/new"], "remove": []}'),
    "removes outside": notes('{"move": [], "remove": ["../../outside/secret"]}'),
    "removes by a path": notes('{"move": [], "remove": ["a/../../../outside/secret"]}'),
    "removes a list": notes('{"move": [], "remove": [["a"]]}'),
    "moves nothing": notes("{}"),
    "pending is cut off": notes('{"move": ['),
    "sums that are none": text(".sha256.json", "[1, 2]"),
    "sums of outside": text(".sha256.json", '{"../../outside/secret": "' + "0" * 64 + '"}'),
    "a hard link": hard_link,
    "an own file": text("my notes.txt", "mine"),
    "unfinished, with an own file": without_manifest(text("my notes.txt", "mine")),
    "a file for a folder": text("configs2", "x"),
    "a folder for a file": lambda folder, _: ((folder / "model.json").unlink(), (folder / "model.json").mkdir())[1],
    "a pipe": pipe("model.json"),
}


def copies_onto(place: Place, change: Change) -> str:
    """Copy a good folder over a copy of it that was crafted since."""
    request = CopyRequest("reg", "stranger", "archive")
    copy_experiment(place.specs, place.locations, request)
    target = place.folder / "archive" / place.crafted.name
    change(target, place.outside)
    outside, own = pictured(place.outside), (target / "my notes.txt").exists()
    try:
        copy_experiment(place.specs, place.locations, request)
    except AssayError as error:
        problem = _unclear(error)
    else:
        problem = _differences(place)
    if pictured(place.outside) != outside:
        return "changed what is outside"
    return "the user's own file is gone" if own and not (target / "my notes.txt").exists() else problem


WAYS: dict[str, Callable[[Place], str]] = {
    each.__name__: each for each in (imports, evaluates, lists, copies, downloads, packs, reports)
}

CASES = [
    *((f"{way} {name}", change, None) for name, change in CHANGES.items() for way in WAYS),
    *((f"copies onto {name}", None, change) for name, change in TARGETS.items()),
]


def attempt(seed: int) -> Tried:
    """Try the case of a number; beyond their count, they repeat."""
    name, change, onto = CASES[seed % len(CASES)]
    with tempfile.TemporaryDirectory(prefix="crafted-") as folder:
        place = make_place(Path(folder), change or (lambda _folder, _outside: None))
        outside = pictured(place.outside)
        problem = copies_onto(place, onto) if onto else WAYS[name.partition(" ")[0]](place)
        if onto is None and pictured(place.outside) != outside:
            problem = "changed what is outside"
        for kept in ("storage", "archive", "experiments"):
            if not problem and (found := secrets_in(place.folder / kept)):
                problem = f"{found[0]} of {kept} is somebody's secret"
    return Tried(name.partition(" ")[0], f"{name}: {problem}" if problem else "")


if __name__ == "__main__":
    with own_temporary_folder():
        command(attempt, count=len(CASES))
