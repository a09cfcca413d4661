"""Idle threads sleep: the environment variable is set before torch, which reads it once, is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("assay", "assets", "partitions", "resources")


@pytest.mark.parametrize("package", ["training", "inference"])
def test_a_package_that_imports_torch_sets_the_variable_first(package):
    code = f"import sys, os, assay.{package}; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.split() == ["False", "PASSIVE"]


def test_no_other_package_imports_torch():
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    importing = {path for path in modules if _imports_torch(path)}
    assert {path.relative_to(ROOT).parts[:2] for path in importing} == {
        ("assay", "training"),
        ("assay", "inference"),
    }


def _imports_torch(path: Path) -> bool:
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return any(len(line) > 1 and line[0] in ("import", "from") and line[1].split(".")[0] == "torch" for line in lines)
