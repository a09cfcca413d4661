"""The worked example of docs/extending.md: a package in examples/ that pip installs, and an experiment that uses it."""

import re
import shutil
import subprocess
import sys

import polars as pl
import pytest

from tests.helpers.projects import ROOT

pytestmark = pytest.mark.system

EXAMPLE = ROOT / "examples" / "robust"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with the installed package, on the path of every process; nothing is downloaded."""
    source, target = tmp_path / "source", tmp_path / "site"
    shutil.copytree(EXAMPLE, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, *offline, "--target", str(target), str(source)], check=True, timeout=300)
    monkeypatch.setenv("PYTHONPATH", str(target), prepend=":")
    return target


def built(output):
    return set(re.findall(r"^(\w+) +[\d.]+ s  built", output, flags=re.M))


def test_the_experiment_of_the_worked_example_runs_with_everything_that_the_package_adds(project, site):
    project.write("robust", (EXAMPLE / "experiment.yaml").read_text().replace("folder: seats", f"folder: {site}/seats"))
    code, output = project.assay("validate", "robust")
    assert code == 0, output
    code, output = project.assay("run", "robust")
    assert code == 0, output
    assert built(output) >= {"normalized", "trained_model", "predictions", "analysis"}
    (folder,) = (project.storage / "experiments").glob("*-id_robust")
    predictions = pl.read_parquet(next(folder.rglob("predictions.parquet")))
    errors = predictions.select("subset", error=(pl.col("prediction") - pl.col("target")).abs())
    assert predictions["residual"].abs().to_list() == errors["error"].to_list()
    analysis = pl.read_parquet(next(folder.rglob("analysis.parquet")))
    median = errors.filter(subset="test")["error"].quantile(0.5, "lower")
    assert analysis.filter(subset="test", metric="median_error")["value"].item() == pytest.approx(median)
    assert pl.read_parquet(next(folder.rglob("error_quantiles.parquet"))).columns == ["subset", "q0.5", "q0.9"]
    assert "few large errors,few_large_errors,True" in (folder / "exp_tests.csv").read_text()
    assert (site / "seats" / "solver" / "0.lock").exists()
    assert "robust is finished" in project.assay("run", "robust")[1]
    a_new_version_makes_stale_what_uses_the_package(project, site)
    without_the_package_one_sentence_per_kind_says_what_to_do(project, site)


def a_new_version_makes_stale_what_uses_the_package(project, site):
    (info,) = site.glob("assay_robust-*.dist-info")
    metadata = info / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    code, output = project.assay("run", "robust")
    assert code == 0, output
    assert built(output) == {"normalized", "trained_model", "predictions", "analysis"}
    code, output = project.assay("plugins")
    assert code == 0
    assert len(re.findall(r"assay-robust 1\.1 .* imported in \d+ ms", output)) == 10


def without_the_package_one_sentence_per_kind_says_what_to_do(project, site):
    project.write_tiny()
    shutil.move(site / "assay_robust-1.0.dist-info", site / "elsewhere")
    code, output = project.assay("validate")
    assert code == 1
    assert "1 of 2 experiments are valid" in output
    lines = [line for line in output.splitlines() if "robust.yaml" in line]
    assert len(lines) == 9
    assert all("that an installed package registers in 'assay." in line for line in lines)
