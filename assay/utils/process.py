"""Ending a process without the interpreter's shutdown.

At shutdown, Python destroys a million objects of torch and Dagster one by one. This takes 0.9 s and frees nothing that
the operating system would not free anyway.
"""

import atexit
import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """Run the registered exit functions, flush the output, and end the process with an exit code."""
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
