"""Profiles: the settings of a Dagster home that ship with this package, and what settings say about its database.

A profile is a ``dagster.yaml`` with comments. Nothing here imports Dagster, which takes a second: settings are plain
YAML, and a database is reached through its driver.

Belongs here: writing profiles, reading settings, connecting. Does not belong here: what is wrong with a deployment
(``deployment``), making the databases (``resources.instance.home``).
"""

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from assay.errors import FileError, SpecError, StorageError, UnreachableError, one_line, unknown
from assay.spec.secrets import hide
from assay.spec.yaml_text import read_mapping
from assay.storage.files import write_text
from assay.utils.reading import read_text

PROFILES = {
    "local": "this machine alone: SQLite files, no server",
    "shared": "runs, schedules and events in PostgreSQL, for several machines or people",
    "ray": "as shared, and runs are jobs of a Ray cluster",
    "kubernetes": "as shared, and runs are Kubernetes jobs",
}
"""The profiles that exist, and what each is for."""

SETTINGS = "dagster.yaml"

DATABASE_VARIABLE = "ASSAY_DATABASE_URL"
"""Environment variable with the address of the database of all profiles but ``local``."""

RAY_VARIABLE = "ASSAY_RAY_ADDRESS"
"""Environment variable with the address of the cluster of the profile ``ray``."""

SCHEME = "postgresql+psycopg2://"
"""How the address of a database begins: it names the driver, or SQLAlchemy would look for another one."""

DRIVER_MISSING = (
    "All profiles but local need dagster-postgres. Next: pip install 'dagster-postgres>=0.29.27,<0.30' psycopg2-binary"
)

LAUNCHER_NEEDS = {
    "resources.instance.ray_launcher": {
        "dagster_ray": "dagster-ray>=0.4.8,<0.5",
        "ray": "ray[default]>=2.60,<3",
    },
    "resources.instance.kubernetes_launcher": {"dagster_k8s": "dagster-k8s>=0.29.27,<0.30"},
}
"""What the launchers of clusters need of the extra ``scale``: modules, and how they are installed."""

CONNECT_S = 5
"""Longest wait for a connection to the database, in seconds."""

MOST_SETTINGS_BYTES = 2**20

RECORDS = ("run_storage", "schedule_storage", "event_log_storage")
"""Keys of the settings by which Dagster finds its records."""


def profile_text(name: str) -> str:
    """Return the settings of a profile, with comments.

    Raises:
        SpecError: There is no such profile.
    """
    if name not in PROFILES:
        raise SpecError("--profile", [unknown("Profile", name, PROFILES)])
    return (files("assay") / "templates" / "profiles" / f"{name}.yaml").read_text(encoding="utf-8")


def write_profile(home: Path, name: str, replace: bool = False) -> tuple[Path, Path | None]:
    """Write the settings of a profile into a Dagster home.

    Args:
        home: The Dagster home, which need not exist.
        name: The profile.
        replace: Whether other settings are replaced; they are kept beside.

    Returns:
        The file with the settings, and that with the former ones; None if there were none, or the same.

    Raises:
        SpecError: There is no such profile.
        StorageError: There are other settings, and ``replace`` is false; or they can't be read.
    """
    text, path, former = profile_text(name), home / SETTINGS, None
    present = _text_of(path)
    if present == text:
        return path, None
    if present is not None:
        if not replace:
            remedy = f"Edit it by hand, or write the profile instead: assay init --profile {name} --replace"
            raise StorageError(f"{path} has other settings than the profile {name}. {remedy}")
        former = next(each for number in count(1) if not (each := home / f"{SETTINGS}.former-{number}").exists())
        write_text(former, present)
    write_text(path, text)
    return path, former


def _text_of(path: Path) -> str | None:
    try:
        return read_text(path, MOST_SETTINGS_BYTES)
    except FileNotFoundError:
        return None
    except FileError as error:
        raise StorageError(str(error)) from error


def settings_of(home: Path) -> dict[str, Any] | None:
    """Return the settings of a Dagster home as plain values; None if it has none yet.

    Raises:
        StorageError: They can't be read, or are no YAML with keys.
    """
    text = _text_of(home / SETTINGS)
    try:
        return None if text is None else read_mapping(text, str(home / SETTINGS))
    except SpecError as error:
        raise StorageError(str(error)) from error


def keeps_records_elsewhere(home: Path) -> bool:
    """Return whether the settings of a Dagster home name a database of its runs; by its text, in 0.1 ms."""
    try:
        return _ELSEWHERE.search(read_text(home / SETTINGS, MOST_SETTINGS_BYTES)) is not None
    except (FileNotFoundError, FileError):
        return False


_ELSEWHERE = re.compile(r"^(?:run_storage|storage)\s*:", flags=re.MULTILINE)


def database_url(settings: Mapping[str, Any]) -> str | None:
    """Return the address of the PostgreSQL database that settings name; None if they name none.

    Raises:
        StorageError: An environment variable that they name is not set, or the address is none of psycopg2.
    """
    found = [config for config in map(_postgres, _records_of(settings)) if config]
    addresses = {_address(config) for config in found}
    if len(addresses) > 1:
        raise StorageError(f"{SETTINGS} names several databases; expected one for {', '.join(RECORDS)}.")
    return addresses.pop() if addresses else None


def _records_of(settings: Mapping[str, Any]) -> list[Any]:
    unified = section_of(settings, "storage")
    inside = unified.get("postgres") or section_of(unified, "custom").get("config")
    return [*(settings.get(key) for key in RECORDS), {"config": inside}]


def section_of(settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return what settings have under a key; without keys if they have something else there."""
    found = settings.get(key)
    return found if isinstance(found, Mapping) else {}


def _postgres(entry: Any) -> Mapping[str, Any] | None:
    """Return the configuration of an entry that is on PostgreSQL, as Dagster's and our classes have it."""
    config = entry.get("config") if isinstance(entry, Mapping) else None
    is_known = isinstance(config, Mapping) and ("postgres_url" in config or "postgres_db" in config)
    return config if is_known else None


def _address(config: Mapping[str, Any]) -> str:
    if "postgres_db" in config:
        parts = {key: _value(value) for key, value in section_of(config, "postgres_db").items() if key != "params"}
        login = f"{quote(parts.get('username', ''))}:{quote(parts.get('password', ''))}"
        place = f"{parts.get('hostname', '')}:{parts.get('port', '5432')}/{parts.get('db_name', '')}"
        address = f"{parts.get('scheme', 'postgresql')}://{login}@{place}"
    else:
        address = _value(config["postgres_url"])
    if not address.startswith(SCHEME):
        scheme = address.partition("://")[0] if "://" in address else "no address"
        got = one_line(scheme) if re.fullmatch(r"[\w+.-]{1,40}", scheme) else "something else"
        expected = f"{SCHEME}USER:PASSWORD@HOST:5432/DATABASE, which names the driver that is installed"
        raise StorageError(f"The address of Dagster's database begins with {got!r}; expected {expected}.")
    if address.count("@") != 1:
        raise StorageError("The address of Dagster's database has not one '@'; one in a password is written %40.")
    return address


def _value(value: Any) -> str:
    """Return a value of the settings, or of the environment variable that it names."""
    if not isinstance(value, Mapping):
        return str(value)
    name = str(value.get("env", ""))
    if not os.environ.get(name):
        example = f"export {name}={SCHEME}USER:PASSWORD@HOST:5432/DATABASE"
        raise StorageError(f"{SETTINGS} takes the database from {name}, which is not set. Next: {example}")
    return os.environ[name]


def require_services(home: Path) -> None:
    """Refuse to start on a database that can't be used; does nothing where the records are SQLite files.

    Raises:
        StorageError: The settings, an address, the driver or the launcher are not usable.
        UnreachableError: The database does not answer, or refuses the login.
    """
    if not keeps_records_elsewhere(home):
        return
    settings = settings_of(home) or {}
    address = database_url(settings)
    if address is not None:
        open_database(address).close()
    if missing := missing_for_launcher(settings):
        raise StorageError(missing)


def launcher_of(settings: Mapping[str, Any]) -> str:
    """Return the module of the run launcher that settings name; empty if they name none."""
    return str(section_of(settings, "run_launcher").get("module", ""))


def missing_for_launcher(settings: Mapping[str, Any]) -> str:
    """Return which package the launcher of settings lacks, with the remedy; empty if it lacks none."""
    needed = LAUNCHER_NEEDS.get(launcher_of(settings), {})
    missing = [f"'{package}'" for module, package in needed.items() if find_spec(module) is None]
    if not missing:
        return ""
    return f"The launcher that {SETTINGS} names lacks packages. Next: pip install {' '.join(missing)}"


def ray_address(settings: Mapping[str, Any]) -> str | None:
    """Return the address of the Ray cluster that settings name; None if they name none.

    Raises:
        StorageError: An environment variable that they name is not set, or it is no address of Ray's job server.
    """
    if launcher_of(settings) not in ("resources.instance.ray_launcher", "dagster_ray"):
        return None
    named = section_of(section_of(section_of(settings, "run_launcher"), "config"), "ray").get("address")
    name = str(named.get("env", "")) if isinstance(named, Mapping) else ""
    address = os.environ.get(name, "") if name else str(named or "")
    if not re.match(r"https?://[^/\s]", address):
        told = "is no address of it" if address else "is not set"
        where = name or f"run_launcher.config.ray.address in {SETTINGS}"
        raise StorageError(
            f"The address of the Ray cluster, {where}, {told}; expected http://HOST:8265, its job server. Next: "
            f"export {RAY_VARIABLE}=http://HOST:8265"
        )
    return address


def open_database(address: str) -> Any:
    """Return a connection to a PostgreSQL database that only reads.

    Raises:
        StorageError: The driver is missing.
        UnreachableError: It does not answer in time, or refuses the login; without the password.
    """
    if find_spec("dagster_postgres") is None or find_spec("psycopg2") is None:
        raise StorageError(DRIVER_MISSING)
    import psycopg2  # of the extra `scale`

    try:
        opened = psycopg2.connect(address.replace(SCHEME, "postgresql://", 1), connect_timeout=CONNECT_S)
        opened.set_session(readonly=True, autocommit=True)
    except psycopg2.Error as error:
        reason = without_login(str(error), address).strip().partition("\n")[0] or type(error).__name__
        remedy = f"Start it, or correct {DATABASE_VARIABLE}"
        raise UnreachableError(f"Dagster's database can't be reached: {reason.rstrip('.')}. {remedy}.") from None
    return opened


def without_login(text: str, address: str) -> str:
    """Return a text without what an address says before ``@``, also in parts, as drivers quote it."""
    login = address.partition("://")[2].rpartition("@")[0]
    parts = [address, login, *re.split(r"[:@/?#]", login.partition(":")[2])]
    for part in sorted((each for each in parts if len(each) > 2), key=len, reverse=True):
        text = text.replace(part, "***")
    return hide(text)


def is_mixed(settings: Mapping[str, Any]) -> bool:
    """Return whether only some of the records are on PostgreSQL."""
    return "storage" not in settings and len({_postgres(settings.get(key)) is None for key in RECORDS}) > 1
