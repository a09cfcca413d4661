"""Folders of a stranger, crafted to lead out of themselves, to hang whoever reads them, or to be no records at all.

Each entry changes a good folder of the experiment ``reg``, as version 0.1.0 left it.

Belongs here: the changes. Does not belong here: what is tried with such folders, and what is wrong about an outcome
(``tests.campaigns.crafted_folders``).
"""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

SECRET = b"secret of somebody else"
DEEP = "[" * 100_000
HALF = "\ud800"

Change = Callable[[Path, Path], None]
"""Changes a folder; the second path is a folder outside of it, with ``secret`` and a folder ``deep/``."""

MANIFEST, INFO, SPEC = "manifest.json", "experiment_info.yaml", "configs/experiment.yaml"
REPORT, STAGE = "results/analysis/report.json", "results/analysis/manifest.json"
COST = "results/analysis/cost.json"


def put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))


def text(name: str, content: bytes | str) -> Change:
    return lambda folder, _: put(folder / name, content)


def key(name: str, *keys: str, value: Any) -> Change:
    """Set a key of a JSON file at some depth; ``value`` may be ``...``, which removes it."""

    def change(folder: Path, _: Path) -> None:
        content = json.loads((folder / name).read_bytes())
        place = content
        for each in keys[:-1]:
            place = place[each]
        if value is ...:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        put(folder / name, json.dumps(content))

    return change


def listed(name: str) -> Change:
    """Let the manifest list a further file."""
    entry = {"size_bytes": len(SECRET), "sha256": hashlib.sha256(SECRET).hexdigest(), "stage": "analysis"}
    return key(MANIFEST, "files", name, value=entry)


def fitting(name: str, content: bytes | str, own: str) -> Change:
    """Replace a file of the analysis, and let both manifests say so; ``own`` is its name in the stage's."""

    def change(folder: Path, outside: Path) -> None:
        put(folder / name, content)
        written = (folder / name).read_bytes()
        entry = {"size_bytes": len(written), "sha256": hashlib.sha256(written).hexdigest()}
        key(STAGE, "files", own, value=entry)(folder, outside)
        key(MANIFEST, "files", name, value={**entry, "stage": "analysis"})(folder, outside)

    return change


def table(**columns: Any) -> bytes:
    from io import BytesIO

    file = BytesIO()
    pl.DataFrame(columns).write_parquet(file)
    return file.getvalue()


def link(name: str, target: str) -> Change:
    """Replace something by a link; ``OUT`` in the target is the outside folder."""

    def change(folder: Path, outside: Path) -> None:
        remove(folder / name)
        (folder / name).symlink_to(target.replace("OUT", str(outside)))

    return change


def remove(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def pipe(name: str) -> Change:
    def change(folder: Path, _: Path) -> None:
        remove(folder / name)
        os.mkfifo(folder / name)

    return change


def listening(folder: Path, _: Path) -> None:
    here = Path.cwd()
    os.chdir(folder)  # the address of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind("socket")
    finally:
        os.chdir(here)


def sized(name: str, size_bytes: int) -> Change:
    def change(folder: Path, _: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        with (folder / name).open("wb") as file:
            file.truncate(size_bytes)

    return change


def as_folder(name: str) -> Change:
    def change(folder: Path, _: Path) -> None:
        remove(folder / name)
        (folder / name).mkdir()

    return change


def deep_folders(folder: Path, _: Path) -> None:
    (folder / "/".join(["d"] * 300)).mkdir(parents=True)
    put(folder / "/".join(["d"] * 300) / "file", "x")


def elsewhere(folder: Path, outside: Path) -> None:
    """Move the folder out of its location, and leave a link."""
    shutil.move(folder, outside / folder.name)
    folder.symlink_to(outside / folder.name)


def spec(**keys: Any) -> Change:
    return lambda folder, _: put(folder / SPEC, json.dumps({"task": "regression", **keys}))


def found(**keys: Any) -> Change:
    good = {"experiment_id": "x", "run_id": "r", "folder": "archive/x", "model": "0" * 24, "scaling": ""}
    return spec(existing_experiment={"experiment_id": "x", "found": {**good, **keys}})


BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

CHANGES: dict[str, Change] = {
    "untouched": lambda _folder, _outside: None,
    **{
        f"manifest: {name}": text(MANIFEST, content)
        for name, content in {
            "empty": "",
            "cut off": '{"results": {',
            "a list": "[]",
            "a number": "7",
            "no keys": "{}",
            "100,000 brackets": DEEP,
            "5,000 digits": '{"results": ' + "9" * 5000 + ', "files": {}}',
            "NaN": '{"results": NaN, "files": {}}',
            "not UTF-8": b"\xff\xfe\x00",
        }.items()
    },
    "manifest: no results": key(MANIFEST, "results", value=...),
    "manifest: no files": key(MANIFEST, "files", value=...),
    "manifest: results a list": key(MANIFEST, "results", value=["analysis"]),
    "manifest: files a list": key(MANIFEST, "files", value=["a"]),
    "manifest: an entry is text": key(MANIFEST, "files", "a", value="b"),
    "manifest: no digest": key(MANIFEST, "files", "model.json", "sha256", value=...),
    "manifest: a digest of two digits": key(MANIFEST, "files", "model.json", "sha256", value="ab"),
    "manifest: a size below zero": key(MANIFEST, "files", "model.json", "size_bytes", value=-1),
    "manifest: a wrong digest": key(MANIFEST, "files", "model.json", "sha256", value="0" * 64),
    "manifest: a file that is missing": listed("nothing"),
    **{
        f"manifest: fingerprint {value!r}": key(MANIFEST, "results", "trained_model", value=value)
        for value in ("../../x", "*", "", 7, None, "/etc", ["a"], "A" * 24)
    },
    **{
        f"manifest: stage {name!r}": key(MANIFEST, "results", name, value="0" * 24) for name in ("../x", "", "a/b", "*")
    },
    "manifest: stage of a file '..'": key(MANIFEST, "files", "model.json", "stage", value=".."),
    **{
        f"manifest: lists {name!r}": listed(name)
        for name in ("../outside/secret", "/etc/passwd", "a\\b", "a/../../b", "a\0b", ".", "", "a//b", HALF, MANIFEST)
    },
    "manifest: a folder": as_folder(MANIFEST),
    "manifest: a pipe": pipe(MANIFEST),
    "manifest: a link out": link(MANIFEST, "OUT/secret"),
    "manifest: a device": link(MANIFEST, "/dev/zero"),
    "manifest: 80 MB": sized(MANIFEST, 80 * 2**20),
    **{
        f"stage: {name}": text(STAGE, content)
        for name, content in {"cut off": "{", "a list": "[]", "deep": DEEP}.items()
    },
    "stage: of another stage": key(STAGE, "stage", value="splits"),
    "stage: another fingerprint": key(STAGE, "fingerprint", value="0" * 24),
    "stage: fingerprint of a path": key(STAGE, "fingerprint", value="../../../x"),
    "stage: lists ../": key(STAGE, "files", "../../../secret", value={"size_bytes": 1, "sha256": "0" * 64}),
    "stage: lists its manifest": key(STAGE, "files", MANIFEST, value={"size_bytes": 1, "sha256": "0" * 64}),
    "stage: without report": key(STAGE, "files", "report.json", value=...),
    "stage: without table": key(STAGE, "files", "analysis.parquet", value=...),
    "stage: ancestors a list": key(STAGE, "ancestors", value=["x"]),
    "stage: ancestors of paths": key(STAGE, "ancestors", "splits", value="../x"),
    "stage: a deep section": key(STAGE, "section", "x", value=json.loads("[" * 500 + "]" * 500)),
    "stage: code_version a number": key(STAGE, "code_version", value=2),
    "stage: inputs a list": key(STAGE, "inputs", value=[1]),
    "stage: a link": link(STAGE, "OUT/secret"),
    "stage: a pipe": pipe(STAGE),
    **{
        f"report: {name}": fitting(REPORT, content, "report.json")
        for name, content in {
            "cut off": "{",
            "a list": "[]",
            "NaN": '{"x": NaN}',
            "deep": '{"x": ' + "[" * 500 + "]" * 500 + "}",
            "half a character": '{"x": "\\ud800"}',
            "no name": '{"": {"": ""}}',
        }.items()
    },
    **{
        f"cost: {name}": text(COST, content)
        for name, content in {
            "cut off": "{",
            "NaN": '{"wall_s": NaN}',
            "of a path": '{"stage": "../x", "fingerprint": "../../x", "experiment_id": "../x"}',
            "deep": DEEP,
        }.items()
    },
    "cost: a link": link(COST, "OUT/secret"),
    "cost: a pipe": pipe(COST),
    "cost: 80 MB": sized(COST, 80 * 2**20),
    "table: text": fitting("analysis/analysis.parquet", "no table", "analysis.parquet"),
    "table: of another experiment": fitting(
        "analysis/analysis.parquet", table(experiment_id=["x"], value=[1.0]), "analysis.parquet"
    ),
    "table: a column of another type": fitting(
        "analysis/analysis.parquet", table(metric=["x"], value=["high"]), "analysis.parquet"
    ),
    **{
        f"info: {name}": text(INFO, content)
        for name, content in {
            "binary": b"\xff\xfe\x00\x01",
            "a list": "- a",
            "an ID with a path": "experiment_id: ../x\nrun_id: r",
            "a run that is a list": "experiment_id: reg\nrun_id: [a]",
            "deep": DEEP,
            "an impossible date": "experiment_id: reg\nrun_id: 2026-99-99",
            "5,000 digits": "experiment_id: reg\nrun_id: " + "9" * 5000,
        }.items()
    },
    "info: a link": link(INFO, "OUT/secret"),
    "info: a pipe": pipe(INFO),
    "info: 80 MB": sized(INFO, 80 * 2**20),
    **{
        f"spec: {name}": text(SPEC, content)
        for name, content in {
            "binary": b"\xff\xfe\x00\x01",
            "a list": "- a",
            "empty": "",
            "deep": DEEP,
            "an impossible date": "task: regression\nname: 2026-99-99",
            "5,000 digits": "task: regression\nseed: " + "9" * 5000,
            "growing": BOMB,
        }.items()
    },
    "spec: missing": lambda folder, _: (folder / SPEC).unlink(),
    "spec: an unknown key": spec(what=1),
    **{f"spec: into {name!r}": spec(exp_out_location=name) for name in ("locks", "Tables", "..", "a/b", "pointers")},
    **{
        f"spec: results into {name!r}": spec(trained_model={"output_location": name})
        for name in ("locks", "tables", "../x", "experiments_index")
    },
    "spec: evaluates nothing found": spec(existing_experiment="x"),
    "spec: found elsewhere": found(folder="archive/../../outside"),
    "spec: found a path": found(model="../../../x"),
    "spec: scaling a path": found(scaling="../../../x"),
    "spec: a link": link(SPEC, "OUT/secret"),
    "files: a folder is a link": link("models", "OUT/deep"),
    "files: a file is a link": link("model.json", "OUT/secret"),
    "files: another file is a link": link("notes", "OUT/secret"),
    "files: a link to nothing": link("notes", "OUT/nothing"),
    "files: a link to its parent": link("again", ".."),
    "files: a pipe": pipe("pipe"),
    "files: a socket": listening,
    "files: a device": link("zero", "/dev/zero"),
    "files: 4 TB": sized("large", 4 * 2**40),
    "files: 300 folders deep": deep_folders,
    "files: a name that is no text": lambda folder, _: put(Path(os.fsdecode(os.fsencode(folder) + b"/\xff")), "x"),
    "files: a name of two lines": text("a\nb", "x"),
    "files: a backslash": text("a\\b", "x"),
    "files: unfinished changes": text(".incoming/pending.json", '{"move": ["../../../x"], "remove": ["../../secret"]}'),
    "files: sums of somewhere": text(".sha256.json", '{"../../secret": "x"}'),
    "files: a temporary link": link(".tmp-1-0123456789ab-x", "OUT/secret"),
    "the folder is a link": elsewhere,
}
