"""Runs one benchmark in a process of its own: what another one has loaded must not count as memory of this one.

``python -m benchmarks.one MODULE FILE [--quick]`` writes the rows and the machine factor to FILE; no file, it crashed.
"""

import argparse
import importlib
import json
from pathlib import Path

from benchmarks.machine import machine, machine_factor


def main() -> None:
    """Run the benchmark named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("module")
    parser.add_argument("file", type=Path)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    run = importlib.import_module(arguments.module).run
    factor = machine_factor(1) if arguments.quick else machine_factor()
    rows = run(quick=arguments.quick)
    content = {"machine": machine(), "machine_factor": factor, "rows": [row.as_dict() for row in rows]}
    arguments.file.write_text(json.dumps(content))


if __name__ == "__main__":
    main()
