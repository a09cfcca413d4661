"""``benchmarks/RESULTS.md``, written from the figures that are kept in ``benchmarks/results``.

Belongs here: files of figures, tables, the page. Does not belong here: running benchmarks.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, number_text

FOLDER = Path(__file__).parent
COLUMNS = ("benchmark", "value", "unit", "target", "floor", "note", "measured on")
INTRODUCTION = (
    "`make bench` measures anew, lists what misses its target, and fails if anything does. What misses is measured "
    "once more, and a row counts as missed when it misses in both runs. Each section was measured in one run, on the "
    "day that its heading names. *measured on* is empty for figures of that run; what comes from another day only "
    "shows the order of magnitude. *floor* is the least that the machine allows for the same work, or what the note "
    "says, in the same run. A target in plain seconds is multiplied by how much slower the machine is than the usual "
    "one, which a fixed piece of work tells before each section. Single runs: trust ratios within one table, not "
    "digits."
)


@dataclass(frozen=True)
class Figures:
    """What one benchmark measured.

    Attributes:
        rows: The figures.
        date: Of the run.
        machine: What it was measured on, with versions.
        machine_factor: How many times as long a fixed piece of work took as usual; None where it was not measured.
    """

    rows: list[Row]
    date: str
    machine: str
    machine_factor: float | None

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Figures":
        """Return the figures that ``as_dict`` gave."""
        return cls(**{**content, "rows": [Row.of(row) for row in content["rows"]]})

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON keeps them."""
        head = {"date": self.date, "machine": self.machine, "machine_factor": self.machine_factor}
        return {**head, "rows": [row.as_dict() for row in self.rows]}


def keep(name: str, figures: Figures, folder: Path = FOLDER) -> None:
    """Keep the figures of one benchmark instead of its former ones."""
    path = folder / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(figures.as_dict(), indent=1, ensure_ascii=False) + "\n")


def kept(names: Iterable[str], folder: Path = FOLDER) -> dict[str, Figures]:
    """Return the figures that are kept, by the benchmark's name, in the order of the names."""
    paths = {name: folder / "results" / f"{name}.json" for name in names}
    return {name: Figures.of(json.loads(path.read_text())) for name, path in paths.items() if path.exists()}


def write_page(names: Collection[str], folder: Path = FOLDER) -> None:
    """Write the page anew from all figures that are kept."""
    found = kept(names, folder)
    machines = list(dict.fromkeys(figures.machine for figures in found.values()))
    parts = [
        "# Results",
        INTRODUCTION,
        *_missing(names, found),
        *(f"{_mark(machines, each)}{each}." for each in machines),
    ]
    for name, figures in found.items():
        parts += [
            _heading(name, figures, _mark(machines, figures.machine)),
            table(figures.rows, figures.machine_factor),
        ]
    (folder / "RESULTS.md").write_text("\n\n".join(parts) + "\n")


def _missing(names: Iterable[str], found: Collection[str]) -> list[str]:
    """Say which benchmarks have no figures."""
    missing = [name for name in names if name not in found]
    return [f"Still to be measured: {', '.join(missing)}."] if missing else []


def _mark(machines: list[str], machine: str) -> str:
    """Return how headings refer to a machine; nothing while there is only one."""
    return f"Machine {machines.index(machine) + 1}: " if len(machines) > 1 else ""


def _heading(name: str, figures: Figures, mark: str) -> str:
    factor = "not measured" if figures.machine_factor is None else f"{figures.machine_factor:.2f}"
    return f"## {name} ({mark}{figures.date}, machine factor {factor})"


def table(rows: Iterable[Row], machine_factor: float | None = None, judged: bool = True) -> str:
    """Return rows as a Markdown table; without targets where nothing is judged."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(_cells(row, machine_factor, judged) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Row, machine_factor: float | None, judged: bool) -> list[str]:
    target = row.target_text(machine_factor) if judged else ""
    if judged and row.misses(machine_factor or 1.0):
        target = f"{target} **missed**"
    figures = [number_text(row.value), row.unit, target, number_text(row.floor)]
    return [row.benchmark, *figures, row.note, row.measured_on]
