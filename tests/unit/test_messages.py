"""Counts in messages agree with their nouns: "1 problem", not "1 problems" or "1 problem(s)"."""

import ast
import re
from collections.abc import Iterator

import pytest

from assay.utils.text import pluralize
from tests.helpers.imports import ROOT, python_files, syntax_tree

COUNT = re.compile(r"\blen\(|\.sum\(\)|\.count\(|n_unique\(\)|(^|[._])(count|counts|total|size|files|sets)$|_count$")
"""What a number is that may be one."""

SEVERAL = re.compile(r" (?:[a-z-]+ ){0,2}[a-z]+s\b(?!')")
"""A plural that follows it directly, or after a word or two."""

LIMITED = "expected at most"
"""Stands where there are more than a limit, and so more than one."""

ALWAYS_SEVERAL = {
    "{len(answer)} rows",
    "{apart.sets} sets of items",
    "{each.sets} sets",
    "{count} different values",
    "{len(shown)} characters",
    "{len(sizes)} files",
    "{len(values)} values",
    "{len(target)} rows",
    "{len(present)} rows",
    "{count} characters",
    "{len(found)} experiments",
    "{len(statements)} statements",
    "{len(whole)} rows",
    "{len(dimensions)} partitions",
}
"""Counts of which the lines before make sure that they are not one."""

VERBS = {"is", "was", "has", "does", "as", "this", "its", "means", "lists", "less", "class", "bytes", "holds", "others"}
"""Words with an s at their end that are no plural, or stand where there never is one alone."""


def nouns_after_counts(tree: ast.AST) -> Iterator[str]:
    """Yield each count in an f-string with the plural that is always behind it."""
    for node in ast.walk(tree):
        for value, text in zip(node.values, node.values[1:], strict=False) if isinstance(node, ast.JoinedStr) else ():
            if not isinstance(value, ast.FormattedValue) or not isinstance(text, ast.Constant):
                continue
            found = SEVERAL.match(text.value)
            if found is None or found.group(0).split()[-1] in VERBS or LIMITED in text.value:
                continue
            if COUNT.search(counted := ast.unparse(value.value)) and "pluralize(" not in counted:
                yield f"{{{counted}}}{found.group(0)}"


def test_the_search_finds_what_it_should():
    code = """f"{len(bad)} problems, {pluralize(total, 'row')} of {MOST:,} rows, {name} has {n.sum()} odd rows" """
    assert list(nouns_after_counts(ast.parse(code))) == ["{len(bad)} problems", "{n.sum()} odd rows"]


LATER = {
    "assay/checks/metrics.py",
    "assay/comparison/explanations.py",
    "assay/datasets/filling.py",
    "assay/experiments/boards.py",
    "assay/experiments/costs.py",
    "assay/experiments/health.py",
    "assay/inference/scoring.py",
    "assay/inference/tables.py",
    "assay/stages/normalized.py",
}
"""Files whose messages are still to be looked through."""

OPEN = re.compile(r"[a-z]\((?:s|es)\)")
"""Leaves the number open."""


def test_counts_agree_with_their_nouns():
    found = {}
    for path in (path for path in python_files() if path.relative_to(ROOT).as_posix() not in LATER):
        tree = syntax_tree(path)
        texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        found[path.relative_to(ROOT).as_posix()] = [
            *(each for each in nouns_after_counts(tree) if each not in ALWAYS_SEVERAL),
            *(text for text in texts if isinstance(text, str) and OPEN.search(text)),
        ]
    assert {path: each for path, each in found.items() if each} == {}


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ["item"], "0 items"),
        (1, ["item"], "1 item"),
        (1200, ["image"], "1,200 images"),
        (1, ["class", "classes"], "1 class"),
        (2, ["group is", "groups are"], "2 groups are"),
    ],
)
def test_a_count_with_its_noun(count, words, text):
    assert pluralize(count, *words) == text
