"""A PostgreSQL server on loopback in a temporary folder, run as an ordinary user; ``make database`` installs it.

Belongs here: starting and stopping it. Does not belong here: what a test checks.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.servers import free_port

PASSWORD = "planted%40secret-0123456789"  # noqa: S105 - of a server that lives for a test
"""As an address has it."""


@dataclass
class Postgres:
    """A server with one empty database, ``assay``."""

    folder: Path
    programs: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://assay:{PASSWORD}@127.0.0.1:{self.port}/assay"

    def start(self) -> None:
        # Nothing here outlives the test, so nothing need be flushed; no socket in a folder that other users see.
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._call("pg_ctl", "start", "-w", "-t", "120", "-l", "log", "-o", options)

    def stop(self, how: str = "immediate") -> None:
        """End the server; ``immediate`` is as a power cut, which it recovers from at the next start."""
        self._call("pg_ctl", "stop", "-w", "-m", how)

    def create(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD.replace("%40", "@"))
        password.chmod(0o644)
        self._call("initdb", "-U", "assay", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync", "--pwfile", str(password))
        self.start()
        environment = {**os.environ, "PGPASSWORD": PASSWORD.replace("%40", "@")}
        command = ["createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "assay", "assay"]
        subprocess.run([str(self.programs / command[0]), *command[1:]], env=environment, check=True, timeout=60)

    def _call(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self.folder / "data"), *arguments]
        who = {"user": _ordinary_user(), "group": _ordinary_user(), "extra_groups": []} if os.geteuid() == 0 else {}
        # Into a file: the server inherits it, and a pipe would be open for as long as it lives.
        with (self.folder / f"{program}.log").open("wb") as log:
            called = subprocess.run(command, cwd=self.folder, timeout=180, stdout=log, stderr=log, check=False, **who)
        assert called.returncode == 0, (self.folder / f"{program}.log").read_text()


def _ordinary_user() -> str:
    """Return whom the server runs as where the tests run as root, which it refuses: the user of Debian's package."""
    return pwd.getpwnam("postgres").pw_name


def _programs() -> Path:
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    if found := shutil.which("initdb"):
        places.append(Path(found).resolve().parent)
    usable = [place for place in places if (place / "initdb").exists() and (place / "pg_ctl").exists()]
    if not usable:
        pytest.skip("PostgreSQL is not installed: make database")
    return usable[0]


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Yield a running server with an empty database; skips the test where PostgreSQL is not installed."""
    programs = _programs()
    # Beside pytest's folders, which only their owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="assay-postgres-"))
    folder.chmod(0o755)
    server = Postgres(folder, programs)
    (folder / "data").mkdir(mode=0o700)
    if os.geteuid() == 0:
        owner = pwd.getpwnam(_ordinary_user())
        for path in (folder, folder / "data"):
            os.chown(path, owner.pw_uid, owner.pw_gid)
    try:
        server.create()
        yield server
    finally:
        with suppress(AssertionError):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
