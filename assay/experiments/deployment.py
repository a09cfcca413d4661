"""What is wrong with where Assay runs: platform, packages, Dagster home, database; one sentence each, with its remedy.

Nothing here imports Dagster, nor changes anything.

Belongs here: checks around the storage. Does not belong here: checks of the storage (``health``), settings and
connections themselves (``profiles``).
"""

import platform
import re
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from assay.errors import FileError
from assay.experiments.health import LARGEST_SKEW_S, NETWORK, Finding, file_system_of
from assay.experiments.profiles import (
    CONNECT_S,
    DATABASE_VARIABLE,
    LAUNCHER_NEEDS,
    MOST_SETTINGS_BYTES,
    PROFILES,
    RECORDS,
    SETTINGS,
    database_url,
    is_mixed,
    launcher_of,
    open_database,
    section_of,
    settings_of,
)
from assay.experiments.ray_cluster import check_ray
from assay.experiments.sharing import unpublished
from assay.spec.secrets import hide
from assay.storage.bucket import Bucket
from assay.storage.remote import storage_at
from assay.utils.reading import read_text


def check_packages() -> Iterator[Finding]:
    """Yield whether Python, the platform and the installed packages are those that Assay needs."""
    running = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info[:2] > TESTED:
        told = f"{running}: the tests run on Python 3.11 to {TESTED[0]}.{TESTED[1]}"
        yield Finding("platform", "note", f"{told}. Should something fail, try one of these.")
    else:
        yield Finding("platform", "ok", f"{running}.")
    try:
        needed = [Requirement(text) for text in requires("assay") or ()]
    except PackageNotFoundError:
        yield Finding(
            "packages", "problem", "Assay is not installed as a package. Next, in its folder: pip install -e ."
        )
        return
    problems = [*_unfit(needed, "Assay"), *_unfit_beside_dagster(needed)]
    yield from (Finding("packages", "problem", each) for each in problems)
    if not problems:
        shown = ", ".join(f"{name} {version(name)}" for name in ("dagster", "duckdb", "polars", "torch"))
        yield Finding("packages", "ok", f"All fit: {shown}.")
    yield from _unlike_the_tests(needed)


TESTED = (3, 13)
"""The latest version of Python that is supported."""


def _unfit(needed: Iterable[Requirement], who: str) -> Iterator[str]:
    """Yield which packages are missing or of another version; those of extras only where they are installed."""
    for each in needed:
        is_needed = each.marker is None or each.marker.evaluate({"extra": ""})
        found = _version_of(each.name)
        if found is None and is_needed:
            yield f"{each.name} is not installed, which {who} needs. Next: pip install '{each.name}{each.specifier}'"
        elif found is not None and not each.specifier.contains(found, prereleases=True):
            wanted = f"{who} needs {each.specifier}"
            yield f"{each.name} {found} is installed; {wanted}. Next: pip install '{each.name}{each.specifier}'"


def _unfit_beside_dagster(needed: Iterable[Requirement]) -> Iterator[str]:
    """Yield packages of Dagster that belong to another version of Dagster than the installed one."""
    for name in sorted({each.name for each in needed if each.name.startswith("dagster-")}):
        if _version_of(name) is not None:
            pinned = (Requirement(text) for text in requires(name) or ())
            yield from _unfit([each for each in pinned if each.name == "dagster" and each.marker is None], name)


def _unlike_the_tests(needed: Iterable[Requirement]) -> Iterator[Finding]:
    """Yield which of the packages that Assay names have another version than in ``constraints.txt`` of a checkout."""
    path = Path(__file__).parents[2] / "constraints.txt"
    try:
        lines = read_text(path, MOST_SETTINGS_BYTES).splitlines()
    except (FileNotFoundError, FileError):
        return
    pinned = {each.name.lower(): each for each in (Requirement(line) for line in lines if "==" in line)}
    ours = {each.name.lower() for each in needed} & pinned.keys()
    others = [f"{found} instead of {pinned[name]}" for name in sorted(ours) if (found := _other(pinned[name]))]
    if others:
        yield Finding("packages", "note", f"Other versions than the tests ran with ({path}): {'; '.join(others)}.")


def _other(pinned: Requirement) -> str:
    found = _version_of(pinned.name)
    return f"{pinned.name} {found}" if found and not pinned.specifier.contains(found, prereleases=True) else ""


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


NEEDED = {
    "run_launcher": "runs die with the server that started them",
    "run_monitoring": "runs that were killed stay 'started'",
    "run_retries": "runs that were killed are not tried again",
    "concurrency": "any number of runs and trainings go on at a time",
}
"""Keys of the settings, and what happens without them."""

LEAST_START_TIMEOUT_S = 600


def check_home(home: Path) -> Iterator[Finding]:
    """Yield what is wrong with the settings of a Dagster home, which need not exist, and with its database."""
    settings = settings_of(home)
    if settings is None:
        told = f"{home} has no {SETTINGS} yet; the first command writes that of the profile local"
        yield Finding("home", "note", f"{told}. Now, or another: assay init --profile {'|'.join(PROFILES)}")
        return
    problems = list(_wrong_settings(home / SETTINGS, settings))
    yield from (Finding("home", "problem", each) for each in problems)
    if not problems:
        yield Finding("home", "ok", f"{home / SETTINGS} has launcher, limits, retries and monitoring.")
    address = None if is_mixed(settings) else database_url(settings)
    if address is None:
        yield from _check_files(home)
        return
    timeout_s = section_of(settings, "run_monitoring").get("start_timeout_seconds", 0)
    if isinstance(timeout_s, int) and timeout_s < LEAST_START_TIMEOUT_S:
        why = f"start_timeout_seconds is {timeout_s}: runs that only wait for a busy machine fail"
        yield Finding("home", "note", f"{why}. Set it to {LEAST_START_TIMEOUT_S} or more in {home / SETTINGS}.")
    if (home / "history" / "runs.db").exists():
        yield Finding("home", "note", f"Runs of before are in {home / 'history'}, and not shown; results are found.")
    yield from check_database(address)


def check_engine(home: Path, root: Path) -> Iterator[Finding]:
    """Yield what is wrong with the cluster that the settings of a Dagster home name; nothing where they name none."""
    settings = settings_of(home) or {}
    yield from check_ray(settings, root)
    if launcher_of(settings) == "resources.instance.kubernetes_launcher":
        told = "Runs are Kubernetes jobs; nodes, volumes and images were not looked at"
        yield Finding("engine", "note", f"{told}. See: kubectl get jobs,pods,events --namespace assay")


def _wrong_settings(path: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    missing = [key for key in NEEDED if not settings.get(key)]
    if missing:
        remedy = "Next: assay init --profile local --replace, which keeps the present ones beside"
        yield f"{path} lacks {', '.join(missing)}: {'; '.join(NEEDED[key] for key in missing)}. {remedy}"
    if "storage" in settings and any(key in settings for key in RECORDS):
        yield f"{path} has 'storage' beside 'event_log_storage', which Dagster refuses. Delete the former."
    if launcher_of(settings) in LAUNCHER_NEEDS and not any(key in settings for key in ("storage", "run_storage")):
        why = "runs go to a cluster, and their records are files of this machine"
        yield f"{path} mixes profiles: {why}. Next: assay init --profile ray --replace (or kubernetes)"
    if is_mixed(settings):
        yield f"{path} mixes profiles: only some of {', '.join(RECORDS)} are on PostgreSQL. Set all or none of them."
    modules = {str(entry.get("module", "")): key for key, entry in settings.items() if isinstance(entry, Mapping)}
    for module, key in modules.items():
        if module and not _is_installed(module):
            remedy = "Correct it, or write a profile: assay init --profile local --replace"
            yield f"{path}: {key} names the module {module!r}, which does not exist. {remedy}"


def _is_installed(module: str) -> bool:
    top = module.partition(".")[0]
    if not re.fullmatch(r"\w+(\.\w+)*", module) or find_spec(top) is None:
        return False
    return top != "resources" or find_spec(module) is not None  # looking inside of a package imports it


def _check_files(home: Path) -> Iterator[Finding]:
    """Yield whether the SQLite files of a home can be read and have the tables of the installed Dagster."""
    kind = file_system_of(home)
    if kind in NETWORK:
        why = f"{home} is on a network file system ({kind}), where SQLite loses data"
        yield Finding(
            "database", "problem", f"{why}. Put it on a local disk (DAGSTER_HOME), or: assay init --profile shared"
        )
    paths = [home / "history" / "runs.db", home / "history" / "runs" / "index.db", home / "schedules" / "schedules.db"]
    present = [path for path in paths if path.is_file()]
    for path in present:
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=CONNECT_S)) as records:
                found = records.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.Error as error:
            if "locked" in str(error):
                yield Finding("database", "note", f"{path} is being written at this moment, and was not looked at.")
                continue
            yield Finding("database", "problem", f"{path} can't be read: {error}. Restore it, or move {home} away.")
        else:
            yield from _check_revision(str(path), found[0] if found else "none")
    if present:
        yield Finding("database", "ok", f"SQLite files in {home} can be read.")


def _check_revision(where: str, revision: str) -> Iterator[Finding]:
    """Yield whether the tables are those of the installed Dagster, by the name of their last migration."""
    found = find_spec("dagster")
    folder = Path(str(found.origin)).parent / "_core" / "storage" / "alembic" / "versions" if found else Path()
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py"))]
    known = {match[1] for text in texts if (match := re.search(r"^revision = ['\"](\w+)", text, re.MULTILINE))}
    older = {match[1] for text in texts if (match := re.search(r"^down_revision = ['\"](\w+)", text, re.MULTILINE))}
    latest = known - older
    if not latest or revision in latest:
        return
    if revision in known:
        yield Finding("database", "problem", f"{where} has tables of an older Dagster. Next: dagster instance migrate")
    else:
        remedy = "Install on all machines the version of the one that made it"
        yield Finding("database", "problem", f"{where} has tables of another Dagster ({revision}). {remedy}.")


def check_bucket(url: str) -> Iterator[Finding]:
    """Yield whether a storage in a bucket can be used from here, and has the right time.

    Raises:
        SpecError: The URL is none of a bucket.
        StorageError: It can't be reached, read, written or emptied; or the server does not heed conditions of writes.
    """
    bucket = Bucket.at(url)
    bucket.list("probes")
    bucket.require_conditions()
    skew_s = bucket.clock_ahead_s()
    if abs(skew_s) > LARGEST_BUCKET_SKEW_S:
        told = f"The clock of {bucket.url} and this machine's differ by {abs(skew_s):.0f} s"
        yield Finding("bucket", "problem", f"{told}; from 15 minutes on, S3 refuses requests. {_NTP}.")
    yield Finding("bucket", "ok", f"{bucket.url} can be listed, read, written and emptied, and heeds conditions.")
    yield from _waiting_to_be_published(storage_at(url))


def _waiting_to_be_published(cache: Path) -> Iterator[Finding]:
    waiting = unpublished(cache)
    if waiting:
        more = f" and {len(waiting) - MOST_NAMES} more" if waiting[MOST_NAMES:] else ""
        shown = ", ".join(waiting[:MOST_NAMES]) + more
        told = f"Runs on this machine that go on, or were killed, have not published {shown}"
        yield Finding("bucket", "note", f"{told}. Each 'assay show', 'compare' or 'sql' here publishes what was left.")


MOST_NAMES = 5

_NTP = "Let both follow one time server (NTP)"

LARGEST_BUCKET_SKEW_S = 60.0
"""Difference to the clock of a bucket's server, in seconds, that is told; nothing is decided by comparing clocks."""


QUESTION = """
SELECT extract(epoch FROM clock_timestamp()), current_setting('server_version'), pg_is_in_recovery(),
       has_schema_privilege(current_schema(), 'CREATE'),
       to_regclass('runs') IS NOT NULL, to_regclass('event_logs') IS NOT NULL, to_regclass('job_ticks') IS NOT NULL,
       to_regclass('alembic_version') IS NOT NULL
"""


def check_database(address: str) -> Iterator[Finding]:
    """Yield whether a PostgreSQL database answers, may be written, has Dagster's tables, and the right time.

    Raises:
        StorageError: The driver is missing, or the database can't be reached.
    """
    with closing(open_database(address)) as connection, connection.cursor() as cursor:
        before = time.time()
        cursor.execute(QUESTION)
        answer = cursor.fetchone()
        here = (before + time.time()) / 2
        clock, server, is_copy, may_create, *tables = answer
        where = f"The database {hide(address).partition('@')[2]}"
        problems = list(_wrong_server(where, float(clock) - here, is_copy, may_create, tables))
        yield from (Finding("database", "problem", each) for each in problems)
        if all(tables):
            cursor.execute("SELECT version_num FROM alembic_version")
            found = cursor.fetchone()
            yield from _check_revision(where, found[0] if found else "none")
    if not problems:
        state = "has Dagster's tables" if all(tables) else "is empty; the first command makes Dagster's tables"
        yield Finding("database", "ok", f"{where} (PostgreSQL {server}) answers and {state}.")


def _wrong_server(where: str, skew_s: float, is_copy: bool, may_create: bool, tables: list[bool]) -> Iterator[str]:
    if is_copy:
        yield f"{where} is a standby that can't be written. Name the primary server in {DATABASE_VARIABLE}."
    if not may_create:
        yield f"{where} does not let this user make tables. As its owner: GRANT CREATE ON SCHEMA public TO the user."
    if any(tables) and not all(tables):
        remedy = "Drop them if nothing is recorded yet, and run again; or restore a backup"
        yield f"{where} has only some of Dagster's tables: making them was interrupted. {remedy}."
    if abs(skew_s) > LARGEST_SKEW_S:
        yield f"{where} and this machine differ by {abs(skew_s):.0f} s. Let both follow one time server (NTP)."
