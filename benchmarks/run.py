"""Runs every benchmark and writes ``benchmarks/RESULTS.md``: figures, targets, floors, machine, versions, date.

``python -m benchmarks.run [--quick] [NAME ...]``: only those named; the others keep their former rows.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

BENCHMARKS = (
    "generation",
    "data_stages",
    "io_manager",
    "analysis",
    "quality",
    "scenes",
    "runs",
    "launching",
    "automation",
    "saving",
    "warehouse",
    "elsewhere",
    "locks",
    "dashboard",
    "own_code",
)
FOLDER = Path(__file__).parent
PACKAGES = (
    *("dagster", "dagster-duckdb", "duckdb", "polars", "torch", "pillow", "numpy", "scipy", "scikit-image"),
    *("scikit-learn", "faster-coco-eval", "rich", "streamlit"),
)
COLUMNS = ("benchmark", "value", "unit", "target", "floor", "note")


def main() -> int:
    """Run the benchmarks named on the command line, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[])
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all")
    arguments = parser.parse_args()
    names = arguments.names or BENCHMARKS
    if len(names) > 1:
        return max(_in_own_process(name, arguments.quick) for name in names)
    (name,) = names
    print(f"\n## {name}", flush=True)
    rows = importlib.import_module(f"benchmarks.{name}").run(quick=arguments.quick)
    print(table(rows))
    if not arguments.quick:
        write(name, rows)
    return 0


def _in_own_process(name: str, quick: bool) -> int:
    """Run one benchmark; what another one has loaded must not count as the memory of this one's children."""
    options = ["--quick"] if quick else []
    return subprocess.run([sys.executable, "-m", "benchmarks.run", name, *options], check=False).returncode


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    lines = [" | ".join(COLUMNS), " | ".join("---" for _ in COLUMNS)]
    lines += [" | ".join(_text(row.get(column)) for column in COLUMNS) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write(name: str, rows: list[dict[str, Any]]) -> None:
    """Keep the rows of one benchmark and write the page anew from all that are kept."""
    kept = FOLDER / "results" / f"{name}.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps({"date": f"{datetime.now(UTC):%Y-%m-%d}", "rows": rows}, indent=1) + "\n")
    parts = ["# Results", machine()]
    for benchmark in BENCHMARKS:
        path = FOLDER / "results" / f"{benchmark}.json"
        if path.exists():
            content = json.loads(path.read_text())
            parts.append(f"## {benchmark} ({content['date']})\n\n{table(content['rows'])}")
    (FOLDER / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


def machine() -> str:
    """Return what the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}; "
        f"{versions}. "
        "`make bench` measures anew. Single runs on a shared machine: trust ratios within one table, not digits. "
        "*floor* is the least that the machine allows for the same work."
    )


if __name__ == "__main__":
    sys.exit(main())
