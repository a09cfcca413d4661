"""The template process: it has imported everything that a run needs, and forks one copy of itself per run.

It reads one JSON request per line from standard input, answers each with one line, and ends when the launcher is gone;
its copies have their own sessions and continue.

A fork copies only the calling thread, so whatever another thread was doing is left half done in the copy. The template
therefore has no connection, no open file and no other thread, and it refuses to fork when a library has started a
thread that is not known to be idle.

Belongs here: what happens in that process. Does not belong here: the launcher's side (``run_template``).
"""

import gc
import importlib
import json
import os
import select
import signal
import sys
import sysconfig
import threading
import time
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._utils.hosted_user_process import recon_repository_from_origin

from assay.utils.concurrency import usable_cores
from resources.instance.run_process import RunFiles, RunOrigin, note_process
from resources.instance.run_worker import execute

HARMLESS_THREADS = {"jemalloc_bg_thd", "polars-ooc-clea"}
"""Threads started by importing polars: one restarts itself after a fork, the other waits for its own process."""


class Template:
    """The state of the template process: the pipes to the launcher, and the running copies."""

    def __init__(self) -> None:
        self._requests = os.fdopen(os.dup(0))
        self._replies = os.fdopen(os.dup(1), "w")
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)  # modules may print while they are imported, which must not look like an answer
        self._running: dict[int, RunFiles] = {}

    def read(self) -> dict[str, Any] | None:
        """Wait for the launcher's next message; None when the launcher is gone."""
        while not select.select([self._requests], [], [], 1.0 if self._running else None)[0]:
            self._collect_ended()
        line = self._requests.readline()
        return dict(json.loads(line)) if line else None

    def answer(self, reply: dict[str, Any]) -> None:
        """Send one line to the launcher."""
        self._replies.write(json.dumps(reply) + "\n")
        self._replies.flush()

    def serve(self) -> tuple[str, RunFiles] | None:
        """Fork a copy per request until the launcher is gone.

        Returns:
            In a copy, the arguments and files of its run; in the template, None.
        """
        while request := self.read():
            self._collect_ended()
            files = RunFiles(Path(request["folder"]), request["run_id"])
            if threads := restless_threads():
                self.answer({"refused": f"these threads would be cut off: {', '.join(threads)}"})
            elif self._fork(files):
                return request["arguments"], files
        return None

    def _fork(self, files: RunFiles) -> bool:
        """Fork a copy and answer with its process ID; returns True in the copy."""
        claim = files.claim()
        pid = os.fork()
        if pid == 0:
            self._become_run(files)
            return True
        note_process(claim, pid)
        os.close(claim)  # now only the copy holds the lock
        self._running[pid] = files
        self.answer({"pid": pid})
        return False

    def _become_run(self, files: RunFiles) -> None:
        os.setsid()
        self._requests.close()
        self._replies.close()
        with files.log.open("ab") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)

    def _collect_ended(self) -> None:
        """Reap copies that have ended; if one was killed by a signal, append that to its log."""
        for pid in list(self._running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                files = self._running.pop(pid)
                code = os.waitstatus_to_exitcode(status)
                if code < 0:
                    with files.log.open("a") as log:
                        log.write(f"\nProcess {pid} was killed by {signal.Signals(-code).name}.\n")


def restless_threads() -> list[str]:
    """Return the names of this process's threads that may be active; OpenBLAS ends its own before a fork."""
    names = [Path(task, "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    ours = Path("/proc/self/comm").read_text().strip()
    unknown = [name for name in names if name not in {ours, *HARMLESS_THREADS}]
    python = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    return unknown + python + [ours] * max(0, names.count(ours) - usable_cores())


def watched_sources() -> list[str]:
    """Return the loaded source files outside of installed packages, and the folders of installed packages."""
    installed = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found = {Path(file) for module in sys.modules.values() if (file := getattr(module, "__file__", None))}
    # Some modules of torch name files that do not exist.
    sources = {path for path in found if path.exists() and not any(path.is_relative_to(place) for place in installed)}
    packages = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    return sorted(str(path) for path in sources | packages)


def load(origin: RunOrigin, modules: list[str]) -> None:
    """Import modules and definitions, and exclude all existing objects from garbage collection."""
    gc.disable()
    for name in modules:
        importlib.import_module(name)
    recon_repository_from_origin(origin.repository_origin).get_definition().get_all_jobs()
    gc.collect()
    gc.freeze()
    gc.enable()


def memory_mb() -> float:
    """Return the resident memory of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def main() -> None:
    """Load, serve requests, and, in a copy, execute its run."""
    started = time.time()
    template = Template()
    start = template.read()
    if start is None:
        return
    load(dg.deserialize_value(start["origin"], RunOrigin), start["modules"])
    template.answer({"started": started, "watched": watched_sources(), "memory_mb": round(memory_mb())})
    run = template.serve()
    if run is not None:
        execute(*run)


if __name__ == "__main__":
    main()
