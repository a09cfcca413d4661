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


def test_a_result_that_was_deleted_is_named(finished, tmp_path):
    gone = tmp_path / "storage"
    shutil.copytree(finished.storage, gone, symlinks=True)
    shutil.rmtree(stage_results(gone, "tiny")["predictions"].folder)
    verdicts = {each.stage: each for each in compare_results(gone, finished.storage, "tiny")}
    assert verdicts["predictions"].problem == "was deleted, so that nothing can be compared: assay run tiny"
    assert not verdicts["predictions"].is_within(1.0)


def changed_predictions(storage, change):
    """Change the predictions as they are stored, and return the verdict on them beside those of a storage."""
    result = stage_results(storage, "tiny")["predictions"]
    file, manifest = result.folder / "predictions.parquet", result.folder / "manifest.json"
    for path in (result.folder, file, manifest):
        path.chmod(0o755)
    pl.read_parquet(file).with_columns(change).write_parquet(file)
    sha256 = result.manifest["files"]["predictions.parquet"]["sha256"]
    manifest.write_text(manifest.read_text().replace(sha256, "0" * 64))


def test_other_bytes_are_within_no_tolerance_of_zero_and_nan_is_no_number(finished, tmp_path):
    again = tmp_path / "storage"
    shutil.copytree(finished.storage, again, symlinks=True)
    for change, tolerated in ((pl.col("prediction"), True), (pl.col("prediction") * float("nan"), False)):
        changed_predictions(again, change)
        verdict = {each.stage: each for each in compare_results(finished.storage, again, "tiny")}["predictions"]
        assert not verdict.is_within(0.0)
        assert verdict.is_within(1e-3) is tolerated


def test_a_table_that_differs_a_little_is_within_a_tolerance(finished, tmp_path):
    again = tmp_path / "storage"
    shutil.copytree(finished.storage, again, symlinks=True)
    changed_predictions(again, pl.col("prediction") * (1 + 1e-6))
    verdict = {each.stage: each for each in compare_results(finished.storage, again, "tiny")}["predictions"]
    assert re.fullmatch(r"1 of \d+ files differ: predictions.parquet", verdict.problem)
    assert verdict.is_within(1e-5)
    assert not verdict.is_within(1e-7)


def test_what_is_not_finished_can_not_be_verified(finished):
    finished.write("later", "task: regression\n")
    code, output = finished.assay("verify", "later")
    assert code == 1
    assert "Next: assay run later" in output
