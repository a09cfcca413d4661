"""Results that are made again: the same bytes, and a sentence where they are not."""

import re
import shutil

import polars as pl
import pytest

from assay.experiments.contents import stage_results
from assay.experiments.verification import compare_results
from tests.helpers.projects import digests

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def finished(module_project):
    code, output = module_project.assay("run", "tiny")
    assert code == 0, output
    return module_project


def test_results_are_made_again_with_the_same_bytes_and_nothing_stored_changes(finished):
    before = digests(finished.storage)
    code, output = finished.assay("verify", "tiny")
    assert code == 0, output
    assert output.count("every byte the same") == 8
    assert output.rstrip().endswith("Verified: made again, the results are the same.")
    assert digests(finished.storage) == before
    assert not list((finished.storage / "runs").glob("*verify*"))


def test_what_was_not_made_again_is_named(finished, tmp_path):
    verdicts = list(compare_results(finished.storage, tmp_path / "storage", "tiny"))
    assert {each.problem for each in verdicts} == {"was not made again"}
    assert not any(each.is_within(1.0) for each in verdicts)


def test_a_table_that_differs_a_little_is_within_a_tolerance(finished, tmp_path):
    again = tmp_path / "storage"
    shutil.copytree(finished.storage, again, symlinks=True)
    result = stage_results(again, "tiny")["predictions"]
    file = result.folder / "predictions.parquet"
    file.chmod(0o644)
    result.folder.chmod(0o755)
    table = pl.read_parquet(file).with_columns(pl.col("prediction") * (1 + 1e-6))
    table.write_parquet(file)
    manifest = result.folder / "manifest.json"
    manifest.chmod(0o644)
    sha256 = result.manifest["files"]["predictions.parquet"]["sha256"]
    manifest.write_text(manifest.read_text().replace(sha256, "0" * 64))
    verdict = {each.stage: each for each in compare_results(finished.storage, again, "tiny")}["predictions"]
    assert re.fullmatch(r"1 of \d+ files differ: predictions.parquet", verdict.problem)
    assert verdict.is_within(1e-5)
    assert not verdict.is_within(1e-7)


def test_what_is_not_finished_can_not_be_verified(finished):
    finished.write("later", "task: regression\n")
    code, output = finished.assay("verify", "later")
    assert code == 1
    assert "Next: assay run later" in output
