"""The launcher's side of the template process: starting it, requesting forks, detecting that it is stale.

Belongs here: whether there is a template from which a run may be forked. Does not belong here: what happens in the
template process (``run_template_process``).
"""

import json
import logging
import select
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

import dagster as dg

from resources.instance.run_process import RunFiles, RunOrigin

ANSWER_TIMEOUT_S = 10.0
"""A fork takes milliseconds; a template that does not answer within this time, in seconds, is broken."""

logger = logging.getLogger("dagster.assay.run_launcher")


class TemplateProcess:
    """A process that loads, or has loaded, everything that runs of one code location need.

    Args:
        origin: Origin of the job, which names interpreter and repository.
        modules: Modules to import besides the definitions.
    """

    def __init__(self, origin: RunOrigin, modules: Sequence[str]) -> None:
        self._repository = origin.repository_origin
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [origin.executable_path, "-m", "resources.instance.run_template_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is meant for the launcher only
        )
        self._requests, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        self._ready: dict[str, Any] | None = None
        self._tell({"origin": dg.serialize_value(origin), "modules": list(modules)})

    def serves(self, origin: RunOrigin) -> bool:
        """Return whether it loads, or has loaded, the definitions of ``origin``."""
        return self._repository == origin.repository_origin

    @property
    def stale(self) -> bool:
        """Whether it has ended, or a file that it loaded has changed since it started."""
        if self._process.poll() is not None:
            return True
        return self._ready is not None and any(
            changed_since(path, self._ready["started"]) for path in self._ready["watched"]
        )

    @property
    def ready(self) -> bool:
        """Whether it has loaded everything; does not wait."""
        if self._ready is None and (answer := self._answer(timeout_s=0)):
            self._ready = answer
            logger.info(f"Runs are forked from process {self._process.pid} now: {answer['memory_mb']} MB.")
        return self._ready is not None

    def fork(self, arguments: str, files: RunFiles) -> int | None:
        """Fork a run's process from the template.

        Returns:
            Its process ID; None if the fork failed. The reason is logged then, and the template is closed.
        """
        self._tell({"arguments": arguments, "folder": str(files.folder), "run_id": files.run_id})
        answer = self._answer(ANSWER_TIMEOUT_S) or {"refused": f"no answer within {ANSWER_TIMEOUT_S:g} s"}
        if "pid" in answer:
            return int(answer["pid"])
        logger.warning(f"Process {self._process.pid} does not fork runs any more: {answer['refused']}.")
        self.close()
        return None

    def close(self) -> None:
        """End the template process; runs that were forked from it continue."""
        self._process.kill()
        self._process.communicate()

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._requests.write(json.dumps(message) + "\n")
            self._requests.flush()
        except BrokenPipeError:
            pass  # it died; the missing answer says so

    def _answer(self, timeout_s: float) -> dict[str, Any] | None:
        if not select.select([self._answers], [], [], timeout_s)[0]:
            return None
        line = self._answers.readline()
        return dict(json.loads(line)) if line else None


def changed_since(path: str, moment: float) -> bool:
    """Return whether a file's content or metadata changed after ``moment``, in seconds since the epoch.

    It compares ``ctime``, which, unlike ``mtime``, no copy or checkout can set back.
    """
    try:
        return Path(path).stat().st_ctime > moment
    except FileNotFoundError:
        return True
