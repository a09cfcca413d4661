"""Every defect of the reference system has a test that would notice it here: ``@pytest.mark.defect("A1")``.

A: wrong results, silently. B: lost data, hangs, races. C: crashes, and features that cannot work.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.helpers.imports import syntax_tree

TESTS = Path(__file__).parents[1]
DEFECTS = (
    *(f"A{number}" for number in range(1, 19)),
    *(f"B{number}" for number in range(1, 14)),
    *(f"C{number}" for number in range(1, 13)),
)


def marked_codes() -> set[str]:
    """Return the codes of all tests that always run: a test that is skipped or may fail proves nothing."""
    trees = [syntax_tree(path) for path in TESTS.rglob("test_*.py")]
    tests = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return {code for test in tests if not has_mark(test, "skip", "skipif", "xfail") for code in codes_of(test)}


def has_mark(test: ast.FunctionDef, *names: str) -> bool:
    starts = tuple(f"pytest.mark.{name}" for name in names)
    return any(ast.unparse(mark).startswith(starts) for mark in test.decorator_list)


def codes_of(test: ast.FunctionDef) -> Iterator[str]:
    for mark in test.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.defect":
            yield from (argument.value for argument in mark.args)


def test_every_defect_has_a_test_and_every_mark_a_defect():
    assert marked_codes() == set(DEFECTS)
