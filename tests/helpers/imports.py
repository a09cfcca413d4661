"""Who imports whom, read from the source: between modules, and between the folders that they are in.

Imports inside of functions count like all others: they hide a circle from Python, not from a reader. Belongs here: the
graph. Does not belong here: which arrows are allowed (``test_house_rules``), or how many (``score_card``).
"""

import ast
import gc
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("assay", "partitions", "resources", "assets")
ORDER = (*PACKAGES, "definitions")
"""What may import what: each only those before it."""

LOOKS_DOWNSTREAM = {
    ("assay.cli.run", "assets"): "`assay run` starts Dagster's jobs in this process",
    ("assay.cli.run", "definitions"): "the jobs are those of the definitions",
    ("assay.cli.models", "assets"): "Dagster is told of champions that a command promotes",
    ("assay.cli.storage", "assets"): "Dagster is told of experiments that are forgotten or imported, as the jobs do",
}
"""The only imports from further down, each by the module that imports and the package that is imported."""

Graph = Mapping[str, frozenset[str]]
Arrow = tuple[str, str]


def python_files(root: Path = ROOT) -> list[Path]:
    """Return the source files that are shipped, sorted."""
    packages = [path for name in PACKAGES for path in (root / name).rglob("*.py")]
    return sorted([*packages, *root.glob("definitions.py")])


def module_name(path: Path, root: Path = ROOT) -> str:
    """Return the name by which a file is imported."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def parse(source: str) -> ast.Module:
    """Return the tree of some source, without collecting garbage meanwhile.

    A finalizer that logs a traceback parses source too, and CPython 3.11 can't parse while it parses: it ends in
    ``SystemError: AST constructor recursion depth mismatch`` (python/cpython#106905).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        if was_enabled:
            gc.enable()


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Return a parsed file; most rules look at all of them."""
    return parse(path.read_text(encoding="utf-8"))


def imported_names(path: Path) -> Iterator[str]:
    """Yield the full name of all that a file imports: ``a.b`` for ``import a.b``, and for ``from a import b``."""
    for node in ast.walk(syntax_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def import_graph(root: Path = ROOT) -> dict[str, frozenset[str]]:
    """Return the modules of ours that each of ours imports."""
    files = {module_name(path, root): path for path in python_files(root)}
    return {name: frozenset(_ours(imported_names(path), files) - {name}) for name, path in files.items()}


def _ours(names: Iterable[str], known: Mapping[str, Path]) -> set[str]:
    """Return the modules that names are of: for ``from a import b`` it is ``a.b`` if that is one, or else ``a``."""
    candidates = ((name, name.rpartition(".")[0]) for name in names)
    return {found for pair in candidates if (found := next((each for each in pair if each in known), None))}


def upward_graph() -> dict[str, frozenset[str]]:
    """Return the import graph without the imports that are excepted from the order."""
    return {
        module: frozenset(other for other in others if (module, package_of(other)) not in LOOKS_DOWNSTREAM)
        for module, others in import_graph().items()
    }


def room_of(module: str) -> str:
    """Return the folder of a module: of ``assay``, the one right below it or the single file, or else the package."""
    return ".".join(module.split(".")[:2]) if package_of(module) == "assay" else package_of(module)


def package_of(module: str) -> str:
    """Return the top package."""
    return module.partition(".")[0]


def arrows(graph: Graph) -> set[Arrow]:
    """Return which room imports which other one."""
    pairs = {(room_of(module), room_of(other)) for module, others in graph.items() for other in others}
    return {(one, other) for one, other in pairs if one != other}


def circles(pairs: Iterable[Arrow]) -> list[list[str]]:
    """Return the groups of places that reach each other, each sorted; none when all imports go one way."""
    following: dict[str, set[str]] = defaultdict(set)
    for one, other in pairs:
        following[one].add(other)
    reached = {place: _reached(place, following) for place in following}
    groups = {tuple(sorted(other for other in reached[place] if place in reached.get(other, ()))) for place in reached}
    return sorted(list(group) for group in groups if group)


def _reached(start: str, following: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    pending = list(following[start])
    while pending:
        place = pending.pop()
        if place not in found:
            found.add(place)
            pending += following.get(place, ())
    return found


def arrows_in_circles(pairs: Iterable[Arrow]) -> set[Arrow]:
    """Return the arrows of which each is part of a circle."""
    pairs = set(pairs)
    groups = circles(pairs)
    return {(one, other) for one, other in pairs if any(one in group and other in group for group in groups)}


def backwards(pairs: Iterable[Arrow]) -> set[Arrow]:
    """Return the arrows between top packages that lead to one further down in the order."""
    places = {name: place for place, name in enumerate(ORDER)}
    return {(one, other) for one, other in pairs if places[package_of(other)] > places[package_of(one)]}
