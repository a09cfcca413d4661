"""The owner's side of the template process (``run_template_process``): starting it, asking it, replacing it.

Belongs here: whether there is a template that may be used for a run. Does not belong here: what a run is.
"""

import json
import logging
import select
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from dagster._core.origin import JobPythonOrigin
from dagster._serdes import serialize_value

from resources.instance.run_process import RunFiles

ANSWER_TIMEOUT_S = 10.0
"""A fork takes milliseconds; a template that does not answer for so long is broken."""

logger = logging.getLogger("dagster.assay.run_launcher")


class TemplateProcess:
    """A process that is loading, or has loaded, what the runs of one code location need."""

    def __init__(self, origin: JobPythonOrigin, modules: Sequence[str]) -> None:
        self._repository = origin.repository_origin
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [origin.executable_path, "-m", "resources.instance.run_template_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C in the owner's terminal is for the owner
        )
        self._requests, self._answers = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        self._ready: dict[str, Any] | None = None
        self._tell({"origin": serialize_value(origin), "modules": list(modules)})

    def serves(self, origin: JobPythonOrigin) -> bool:
        """Whether the definitions it loads, or has loaded, are those of ``origin``."""
        return self._repository == origin.repository_origin

    @property
    def stale(self) -> bool:
        """Whether it ended, or a file that it loaded has changed since it started."""
        if self._process.poll() is not None:
            return True
        return self._ready is not None and any(
            changed_since(path, self._ready["started"]) for path in self._ready["watched"]
        )

    @property
    def ready(self) -> bool:
        """Whether it has loaded everything; never waits."""
        if self._ready is None and (answer := self._answer(timeout_s=0)):
            self._ready = answer
            logger.info(f"Runs are forked from process {self._process.pid} now: {answer['memory_mb']} MB.")
        return self._ready is not None

    def fork(self, arguments: str, files: RunFiles) -> int | None:
        """Start a run in a copy of the template.

        Returns:
            Its process ID; None when there is no copy, for a reason that is logged. The template is closed then.
        """
        self._tell({"arguments": arguments, "folder": str(files.folder), "run_id": files.run_id})
        answer = self._answer(ANSWER_TIMEOUT_S) or {"refused": f"no answer within {ANSWER_TIMEOUT_S:g} s"}
        if "pid" in answer:
            return int(answer["pid"])
        logger.warning(f"Process {self._process.pid} does not fork runs any more: {answer['refused']}.")
        self.close()
        return None

    def close(self) -> None:
        """End the template; runs that were forked from it go on."""
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
    """Whether a file's content, name or metadata changed; unlike ``mtime``, a copy can't set this time back."""
    try:
        return Path(path).stat().st_ctime > moment
    except FileNotFoundError:
        return True
