"""Rules of the house that a machine can hold: who imports whom, whose names are ours, what pages refer to."""

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
PACKAGES = ("assay", "partitions", "resources", "assets")
ORDER = (*PACKAGES, "definitions")
LOOKS_DOWNSTREAM = {
    "assay/cli/run.py",
    "assay/cli/locations.py",
    "assay/cli/docs.py",
    "assets/launch.py",
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add((node.module or "").split(".")[0])
    return found


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def reads_by_locale(path: Path) -> list[int]:
    """Return the lines that read or write text in whatever encoding the user's locale has."""
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
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
        assert imports_of(path).isdisjoint({"dagster", "dagster_duckdb", "pickle", "joblib", "dill"}), path


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_only_upwards(package):
    below = set(ORDER[ORDER.index(package) + 1 :])
    for path in files(package):
        if path.relative_to(ROOT).as_posix() not in LOOKS_DOWNSTREAM:
            assert imports_of(path).isdisjoint(below), path


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
    paths = {ROOT / name for name in re.findall(r"`((?:docs|tests|assets|benchmarks)/[\w./-]+)`", text)}
    assert [str(path) for path in links | paths if not path.exists()] == []
