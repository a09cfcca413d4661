"""Runs benchmarks, keeps their figures, writes ``benchmarks/RESULTS.md``, and lists what misses its target.

``python -m benchmarks.run [--quick] [--from NAME] [NAME ...]``: only those named, or that one and all after it; the
others keep their former figures. Each one's figures are kept as soon as it has ended.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.page import FOLDER, Figures, keep, table, write_page
from benchmarks.rows import missed, number_text

BENCHMARKS = {
    name: f"benchmarks.{name}"
    for name in (
        "generation",
        "data_stages",
        "io_manager",
        "analysis",
        "quality",
        "scenes",
        "tables",
        "runs",
        "launching",
        "automation",
        "saving",
        "warehouse",
        "elsewhere",
        "buckets",
        "locks",
        "dashboard",
        "inference",
        "own_code",
    )
}
"""The module of each benchmark, with a function ``run(quick) -> list[Row]``, in the order of the page."""


@dataclass(frozen=True)
class Outcome:
    """What became of one benchmark; without figures, it crashed.

    Attributes:
        name: Of the benchmark.
        seconds: How long it ran.
        figures: What it measured.
        exit_code: Of its process.
    """

    name: str
    seconds: float
    figures: Figures | None
    exit_code: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named on the command line, or all of them; the exit code tells whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--from", dest="first", choices=BENCHMARKS, help="this one and all after it")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: does it run at all; nothing is kept or judged"
    )
    parsed = parser.parse_args(arguments)
    if unknown := [name for name in parsed.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark is named {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    names = parsed.names or list(BENCHMARKS)[list(BENCHMARKS).index(parsed.first or next(iter(BENCHMARKS))) :]
    return run_all(names, parsed.quick)


def run_all(names: Iterable[str], quick: bool, modules: Mapping[str, str] = BENCHMARKS, folder: Path = FOLDER) -> int:
    """Run benchmarks one after another, whatever becomes of each; returns 1 when one crashed or missed a target.

    One that misses a target is measured once more: what the machine did beside it rarely comes twice, a slower Assay
    always does.
    """
    outcomes = []
    for name in names:
        outcome = run_one(name, modules[name], quick)
        print(_shown(outcome, quick), flush=True)
        if outcome.figures and complaints_about(outcome, quick):
            again = run_one(name, modules[name], quick)
            print(_shown(again, quick), flush=True)
            outcome = better_of(outcome, again)
        outcomes.append(outcome)
        if outcome.figures and not quick:
            keep(name, outcome.figures, folder)
            write_page(modules, folder)
    print(f"\n{_durations(outcomes)}")
    complaints = [line for outcome in outcomes for line in complaints_about(outcome, quick)]
    print("\n".join(["\nMissed:", *complaints]) if complaints else f"\nNothing crashed{_and_targets(quick)}.")
    return 1 if complaints else 0


def run_one(name: str, module: str, quick: bool) -> Outcome:
    """Run one benchmark in its own process."""
    print(f"\n## {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.json"
        options = ["--quick"] if quick else []
        started = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.one", module, str(file), *options]
        exit_code = subprocess.run(command, cwd=FOLDER.parent, check=False).returncode
        seconds = time.perf_counter() - started
        content = json.loads(file.read_text()) if file.exists() and exit_code == 0 else None
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    return Outcome(name, seconds, Figures.of({**content, "date": date}) if content else None, exit_code)


def better_of(first: Outcome, second: Outcome) -> Outcome:
    """Return the second outcome, with the first one's row wherever only that one reached the target."""
    if first.figures is None or second.figures is None:
        return second
    factor = second.figures.machine_factor or 1.0
    reached = {row.benchmark: row for row in first.figures.rows if not row.misses(factor)}
    rows = [
        replace(former, note="; ".join(filter(None, [former.note, "in the first of two runs"])))
        if row.misses(factor) and (former := reached.get(row.benchmark))
        else row
        for row in second.figures.rows
    ]
    return replace(second, figures=replace(second.figures, rows=rows))


def complaints_about(outcome: Outcome, quick: bool) -> list[str]:
    """Return a line per row that misses its target, or that it crashed; small sizes are not judged."""
    if outcome.figures is None:
        return [f"{outcome.name}: crashed with exit code {outcome.exit_code}; its output is above"]
    if quick:
        return []
    factor = outcome.figures.machine_factor
    return [
        f"{outcome.name}: {row.benchmark}: {number_text(row.value)} {row.unit}".rstrip()
        + f", wanted {row.target_text(factor)}"
        for row in missed(outcome.figures.rows, factor or 1.0)
    ]


def _shown(outcome: Outcome, quick: bool) -> str:
    end = f"{outcome.name} took {outcome.seconds:.0f} s"
    if outcome.figures is None:
        return f"{end} and crashed with exit code {outcome.exit_code}"
    return f"{table(outcome.figures.rows, outcome.figures.machine_factor, judged=not quick)}\n\n{end}"


def _durations(outcomes: Sequence[Outcome]) -> str:
    total = sum(outcome.seconds for outcome in outcomes)
    each = ", ".join(f"{outcome.name} {outcome.seconds:.0f} s" for outcome in outcomes)
    return f"{total / 60:.1f} minutes: {each}"


def _and_targets(quick: bool) -> str:
    return "; small sizes, so that nothing was judged or kept" if quick else ", and every target is reached"


if __name__ == "__main__":
    sys.exit(main())
