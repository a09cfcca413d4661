"""Rules of the house that a machine can hold: who imports whom, whose names are ours, what pages refer to."""

import ast
import importlib
import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.helpers.imports import (
    LOOKS_DOWNSTREAM,
    ORDER,
    PACKAGES,
    ROOT,
    arrows,
    backwards,
    circles,
    import_graph,
    imported_names,
    module_name,
    package_of,
    python_files,
    room_of,
    syntax_tree,
    upward_graph,
)

DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
MOST_ENTRIES = 24
MOST_LINES = 500

SHARED_NAMES = {
    **dict.fromkeys(
        ("describe", "prepare", "predict", "ground_truth_statistics"),
        "what every kind of learning offers, in a module of its own",
    ),
    **dict.fromkeys(("precision", "recall", "f1", "macro_f1", "iou"), "one metric, of other kinds of predictions"),
    **dict.fromkeys(("compare", "evaluate", "validate"), "a command, whose function has its name"),
    "show": "a command, and what every page of the dashboard offers",
    "main": "where a process starts",
}
"""Public names that stand in several modules, with the one reason why."""


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def reads_by_locale(path: Path) -> list[int]:
    """Return the lines that read or write text in whatever encoding the user's locale has."""
    calls = [node for node in ast.walk(syntax_tree(path)) if isinstance(node, ast.Call)]
    return [
        node.lineno
        for node in calls
        if isinstance(node.func, ast.Attribute)
        and (node.func.attr == "read_text" or (node.func.attr == "write_text" and len(node.args) == 1))
        and not any(keyword.arg == "encoding" for keyword in node.keywords)
    ]


def test_text_is_utf_8_whatever_the_locale():
    found = {str(path): lines for path in files("assay") if (lines := reads_by_locale(path))}
    assert found == {}


def test_the_domain_never_imports_dagster_nor_pickles():
    for path in files("assay"):
        packages = {package_of(name) for name in imported_names(path)}
        assert packages.isdisjoint({"dagster", "dagster_duckdb", "pickle", "joblib", "dill"}), path


def test_imports_go_only_upwards():
    """Counts those within functions as well; every exception is still one."""
    pairs = {(one, other) for one, others in import_graph().items() for other in others}
    found = {(one, package_of(other)) for one, other in backwards(pairs)}
    assert found == set(LOOKS_DOWNSTREAM)


def test_no_folder_imports_one_that_imports_it():
    """Counts imports within functions, too, and circles of any length; a file at the top of assay/ is a folder."""
    assert circles(arrows(upward_graph())) == []


def test_circles_are_found_whatever_their_length():
    pairs = {("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e"), ("e", "d"), ("f", "a")}
    assert circles(pairs) == [["a", "b", "c"], ["d", "e"]]
    assert circles({("a", "b"), ("b", "c"), ("a", "c")}) == []


def test_a_room_is_a_folder_of_assay_or_a_file_at_its_top_or_a_package():
    names = ("assay.spec.base", "assay.training.models.mlp", "assay.errors", "resources.instance.home", "definitions")
    rooms = ["assay.spec", "assay.training", "assay.errors", "resources", "definitions"]
    assert [room_of(name) for name in names] == rooms
    graph = {"assay.a.x": frozenset({"assay.a.y", "assay.b"}), "assay.b": frozenset({"assets.c"})}
    assert arrows(graph) == {("assay.a", "assay.b"), ("assay.b", "assets")}
    assert backwards(arrows(graph)) == {("assay.b", "assets")}


def test_imports_within_functions_count(tmp_path):
    (tmp_path / "assay").mkdir()
    (tmp_path / "assay" / "a.py").write_text("def work():\n    from assay import b\n    import assay.c\n")
    for name in "bc":
        (tmp_path / "assay" / f"{name}.py").write_text("from assay.a import work\n")
    graph = import_graph(tmp_path)
    assert graph["assay.a"] == {"assay.b", "assay.c"}
    assert graph["assay.b"] == {"assay.a"}


ONLY_LINUX = frozenset(
    {
        "sched_getaffinity",
        "sched_setaffinity",
        "memfd_create",
        "eventfd",
        "pidfd_open",
        "epoll",
        "fdatasync",
        "O_DIRECT",
    }
    | {"O_PATH", "O_TMPFILE", "copy_file_range", "posix_fadvise", "getxattr", "prctl", "SO_PEERCRED", "CLOCK_BOOTTIME"}
)
"""Names of the standard library that macOS lacks."""

ASKS_LINUX = {
    "assay/utils/concurrency.py": {"sched_getaffinity"},  # where it exists
    "assay/experiments/health.py": {"/proc"},  # where it exists
    "assay/storage/costs.py": {"/proc"},  # where it exists; elsewhere less is recorded
    "resources/instance/run_template_process.py": {"/proc"},  # runs are forked on Linux only
    "assay/datasets/inspection.py": {"/proc"},  # a folder that is not walked
}
"""What only Linux has, by the file that uses it, with what makes it harmless elsewhere."""


def linux_in(path: Path) -> set[str]:
    """Return what a file uses that only Linux has: names of the standard library, files in ``/proc``."""
    nodes = list(ast.walk(syntax_tree(path)))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute)} & ONLY_LINUX
    return names | {"/proc" for text in texts if text.startswith("/proc")}


def test_what_macos_lacks_is_used_only_where_that_is_harmless():
    found = {path.relative_to(ROOT).as_posix(): linux_in(path) for path in python_files()}
    assert {name: used for name, used in found.items() if used} == ASKS_LINUX


def test_no_module_is_imported_that_macos_lacks():
    asked = {package_of(name) for path in python_files() for name in imported_names(path)}
    assert asked.isdisjoint({"spwd", "ossaudiodev", "msvcrt", "winreg", "winsound", "_winapi"})


def test_the_top_of_assay_can_be_read_at_a_glance():
    entries = [path.name for path in (ROOT / "assay").iterdir() if not path.name.startswith("__")]
    assert len(entries) <= MOST_ENTRIES


def test_no_file_is_too_long_to_read():
    paths = [*python_files(), *files("tests"), *files("benchmarks")]
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}


def places_of_names() -> dict[str, list[str]]:
    """Return the modules that define each public class or function at their top, for those that are in several."""
    places: dict[str, list[str]] = defaultdict(list)
    for path in python_files():
        for node in syntax_tree(path).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                places[node.name].append(module_name(path))
    return {name: modules for name, modules in places.items() if len(modules) > 1}


def test_a_public_name_stands_for_one_thing():
    assert {name: modules for name, modules in places_of_names().items() if name not in SHARED_NAMES} == {}


def test_names_that_may_be_shared_are():
    assert set(SHARED_NAMES) <= set(places_of_names())


@pytest.mark.parametrize("name", ORDER)
def test_our_generic_names_are_imported_from_this_repository(name):
    assert Path(importlib.import_module(name).__file__).is_relative_to(ROOT)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_unsafe_loading(package):
    for path in files(package):
        called = path.read_text(encoding="utf-8").replace(".eval()", "")
        for forbidden in ("torch.load(", "allow_pickle=True", "yaml.unsafe_load", "eval(", "exec("):
            assert forbidden not in called, f"{path}: {forbidden}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *DOCS])
def test_what_pages_refer_to_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    links = {(ROOT / page).parent / name for name in re.findall(r"\]\(([^)#:]+)\)", text)}
    folders = "assay|assets|benchmarks|docs|resources|tests"
    paths = {ROOT / name for name in re.findall(rf"`((?:{folders})/[\w./-]*(?:\.\w+|/))`", text)}
    assert [str(path) for path in links | paths if not path.exists()] == []
