"""The main program of a run's process: it executes the run by ``dagster api execute_run``, as other launchers do.

Belongs here: what such a process does from start to end; it imports what the daemon does not need. Does not belong
here: starting it (``run_process``, ``run_template_process``).
"""

import gc
import os
import sys
from pathlib import Path

from dagster._cli.api import execute_run_command

from assay.utils.concurrency import leave
from resources.instance.run_process import ARGUMENTS, RunFiles


def execute(arguments: str, files: RunFiles) -> None:
    """Execute a run in this process and end the process, whatever the outcome of the run."""
    # Most objects live as long as this process. Collecting garbage at every 700th new object, the default, costs 0.6 s.
    gc.set_threshold(100_000, 20, 20)
    execute_run_command.main([arguments], prog_name="dagster api execute_run", standalone_mode=False)
    files.release()
    leave(0)


def main() -> None:
    """Execute the run given on the command line: folder of its files, and its ID."""
    folder, run_id = sys.argv[1:]
    execute(os.environ.pop(ARGUMENTS), RunFiles(Path(folder), run_id))


if __name__ == "__main__":
    main()
