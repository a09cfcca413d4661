"""The tests of tables, I/O manager and warehouse, on the older DuckDB as well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OTHER_VERSIONS = ("1.5.6",)
TESTS = (
    *(f"tests/unit/storage/test_{name}.py" for name in ("sql_text", "parquet", "partitions", "schema_union")),
    "tests/unit/storage/warehouse",
    "tests/pipeline/test_duckdb_io_manager.py",
)


@pytest.mark.system
@pytest.mark.parametrize("version", OTHER_VERSIONS)
def test_storage_works_on_another_duckdb(version: str, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*install, f"duckdb=={version}"], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    asked = [sys.executable, "-c", "import duckdb; print(duckdb.__version__)"]
    assert subprocess.run(asked, env=environment, capture_output=True, text=True).stdout.strip() == version
    tested = subprocess.run([sys.executable, "-m", "pytest", "-q", *TESTS], cwd=ROOT, env=environment)
    assert tested.returncode == 0
