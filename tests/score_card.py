"""The house in numbers, each beside what it should be: ``python tests/score_card.py`` or ``make score-card``.

Ends with 1 when a number misses its target. Belongs here: counting. Does not belong here: rules that every commit keeps
(``tests/unit/test_house_rules.py``).
"""

import ast
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a file, Python looks for modules in this folder only

from tests.helpers.imports import (
    LOOKS_DOWNSTREAM,
    ROOT,
    arrows,
    arrows_in_circles,
    backwards,
    circles,
    imported_names,
    package_of,
    python_files,
    syntax_tree,
    upward_graph,
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Score:
    """One line of the card.

    Attributes:
        what: What was counted.
        value: The number.
        least: Smallest value that is good.
        most: Largest value that is good.
        unit: Written behind the numbers.
    """

    what: str
    value: float
    least: float = 0
    most: float = float("inf")
    unit: str = ""

    @property
    def is_met(self) -> bool:
        return self.least <= self.value <= self.most

    @property
    def target(self) -> str:
        """The target in words."""
        if self.least == self.most:
            return f"{self.least:g}{self.unit}"
        return f"{self.least:g} to {self.most:g}{self.unit}" if self.least else f"at most {self.most:g}{self.unit}"


def median(values: Iterable[int]) -> int:
    return percentile(values, 0.5)


def percentile(values: Iterable[int], share: float) -> int:
    """Return the smallest value that at least this share of the values does not surpass; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0


def functions_of(path: Path) -> list[Function]:
    """Return all functions and methods, those within others among them."""
    return [node for node in ast.walk(syntax_tree(path)) if isinstance(node, Function)]


def line_count(node: Function) -> int:
    """Return the lines of a function from ``def`` to its end, without its docstring."""
    docstring = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
    return _last_line(node) - node.lineno + 1 - (_last_line(docstring) - docstring.lineno + 1 if docstring else 0)


def body_line_count(node: Function) -> int:
    """Return the lines of a function's body, without its docstring."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    return _last_line(node) - body[0].lineno + 1 if body else 0


def _last_line(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def parameter_count(node: Function) -> int:
    """Return how many arguments a caller may give."""
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    others = [one for one in (node.args.vararg, node.args.kwarg) if one]
    return len(others) + len([one for one in arguments if one.arg not in ("self", "cls")])


def is_asset(node: Function) -> bool:
    """Return whether a function is decorated as an asset, of one or several outputs."""
    called = (each.func if isinstance(each, ast.Call) else each for each in node.decorator_list)
    return any(ast.unparse(each).split(".")[-1] in ("asset", "multi_asset", "graph_asset") for each in called)


def public_definitions(path: Path) -> list[ast.stmt]:
    """Return the public functions at the top of a file, and the public methods of its public classes."""
    top = syntax_tree(path).body
    classes = [node for node in top if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    nodes = [*top, *(node for found in classes for node in found.body)]
    return [node for node in nodes if isinstance(node, Function) and not node.name.startswith("_")]


def imported_once(graph: dict[str, frozenset[str]]) -> int:
    """Return the number of files that exactly one other file imports."""
    importers = Counter(other for others in graph.values() for other in others)
    return sum(count == 1 for count in importers.values())


def scores() -> list[Score]:
    """Return the whole card."""
    paths = python_files()
    return [*_of_files(paths), *_of_functions(paths), *_of_imports(paths), _of_docstrings(paths)]


def _of_files(paths: Sequence[Path]) -> list[Score]:
    lengths = [len(path.read_text().splitlines()) for path in paths]
    entries = [path for path in (ROOT / "assay").iterdir() if not path.name.startswith("__")]
    return [
        Score("entries at the top of assay/", len(entries), most=24),
        Score("Python files, without tests and benchmarks", len(paths), most=280),
        Score("lines of a file, median", median(lengths), 80, 150),
        Score("lines of a file, 90% of them", percentile(lengths, 0.9), most=300),
        Score("lines of a file, most", max(lengths), most=500),
    ]


def _of_functions(paths: Sequence[Path]) -> list[Score]:
    """Return the lines about functions; the parameters of an asset are its upstream assets, so they are not counted."""
    functions = [node for path in paths for node in functions_of(path)]
    lengths = [line_count(node) for node in functions]
    bodies = [body_line_count(node) for node in functions if is_asset(node)]
    parameters = [parameter_count(node) for node in functions if not is_asset(node)]
    return [
        Score("lines of a function, median", median(lengths), most=12),
        Score("lines of a function, 90% of them", percentile(lengths, 0.9), most=30),
        Score("lines of a function, most", max(lengths), most=50),
        Score("lines of an asset's body, median", median(bodies), most=12),
        Score("lines of an asset's body, most", max(bodies), most=25),
        Score("parameters of a function, without assets, median", median(parameters), most=3),
        Score("parameters of a function, without assets, most", max(parameters), most=7),
    ]


def _of_imports(paths: Sequence[Path]) -> list[Score]:
    graph = upward_graph()
    between = arrows(graph)
    dagster = [path for path in paths if path.is_relative_to(ROOT / "assay") if _imports_dagster(path)]
    return [
        Score("files imported by exactly one other file", imported_once(graph), most=65),
        Score("import arrows between folders", len(between), most=160),
        Score("arrows that run back up", len(backwards(between) | arrows_in_circles(between)), most=0),
        Score("imports that may run back up", len(LOOKS_DOWNSTREAM), most=6),
        Score("circles of folders", len(circles(between)), most=0),
        Score("files of assay/ that import dagster", len(dagster), most=0),
    ]


def _imports_dagster(path: Path) -> bool:
    return any(package_of(name).startswith("dagster") for name in imported_names(path))


def _of_docstrings(paths: Sequence[Path]) -> Score:
    public = [node for path in paths if path.name != "definitions.py" for node in public_definitions(path)]
    written = sum(ast.get_docstring(node) is not None for node in public if isinstance(node, Function))
    return Score("public functions with a docstring", round(100 * written / len(public), 2), 100, 100, "%")


def as_text(card: Sequence[Score]) -> str:
    """Return the card as a table, with a mark at what misses its target."""
    width = max(len(score.what) for score in card)
    lines = [
        f"{' ' if score.is_met else '✗'} {score.what:{width}}  {f'{score.value:g}{score.unit}':>8}   {score.target}"
        for score in card
    ]
    return "\n".join(lines)


def main(print_line: Callable[[str], object] = print, card: Sequence[Score] | None = None) -> int:
    """Print the card, of this repository unless another is given; returns 1 if a target is missed."""
    card = scores() if card is None else card
    missed = sum(not score.is_met for score in card)
    print_line(f"{as_text(card)}\n\n{missed} of {len(card)} miss their target.")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
