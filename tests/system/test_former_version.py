"""A storage that version 0.1.0 wrote, before the package was rearranged: everything in it is found and of use.

``tests/data/storage-0.1.0.tar.xz`` holds five experiments, one per kind of learning and one of a table, an evaluation,
their spec files and the table's CSV file. It was written by ``assay run`` and ``assay eval`` of that version.
"""

import re
import subprocess
import tarfile

import pytest

from tests.helpers.projects import BIN, ROOT, Project, digests, make_project

pytestmark = pytest.mark.system

ARCHIVE = ROOT / "tests" / "data" / "storage-0.1.0.tar.xz"
EXPERIMENTS = {
    "reg": "job_experiment",
    "softmax": "job_experiment",
    "masks": "job_experiment",
    "boxes": "job_experiment",
    "houses": "job_experiment",
    "softmax-again": "job_eval",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    """The storage of the former version, in a project of its own."""
    project = make_project(tmp_path_factory.mktemp("former"))
    (project.folder / "experiments" / "tiny.yaml").unlink()
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(project.folder, filter="data")
    with (project.folder / "experiments" / "houses.yaml").open("a", encoding="utf-8") as spec:
        spec.write("normalized: {numbers: range, categories: codes}\n")  # what that version did with every table
    return project


def assay(project: Project, *arguments: str) -> str:
    """Return what a command prints; it runs in the project's folder, to which paths in specs are relative."""
    command = [str(BIN / "assay"), *arguments]
    done = subprocess.run(
        command, cwd=project.folder, env=project.environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_experiments_are_compared_and_asked_for_in_sql(project):
    assert re.search(r"^(Best: )?reg[:,] ", assay(project, "compare"), flags=re.M)
    output = assay(project, "sql", "select count(distinct experiment_id) as n, count(*) > 50 as many from analysis")
    assert re.search(r"│ 6 +┆ true", output)
    assert "accuracy" in assay(project, "show", "softmax")


@pytest.mark.parametrize("experiment_id", EXPERIMENTS)
def test_a_run_finds_every_result_and_analyses_anew(project, experiment_id):
    """Only the analysis is made anew: the intervals of that version were too narrow."""
    before = digests(project.storage)
    output = assay(project, "run", experiment_id, "--job", EXPERIMENTS[experiment_id])
    stages = dict(re.findall(r"^(\w+) +[\d.]+ s  (.+?)(?:,.*)?$", output, flags=re.M))
    assert len(stages) >= 5
    assert stages.pop("analysis") == ("found" if experiment_id == "softmax-again" else "built")  # that of softmax
    assert set(stages.values()) <= {"found", "that of softmax"}
    kept = {name: digest for name, digest in before.items() if "analysis" not in name and not is_of_the_run(name)}
    after = digests(project.storage)
    assert {name: after.get(name) for name in kept} == kept
    assert assay(project, "run", experiment_id).startswith(f"{experiment_id} is finished: everything was found")


def is_of_the_run(name: str) -> bool:
    """Whether a file says when and by what an experiment ran, and which results it has."""
    return name.startswith("experiments/") or "experiments_index" in name


@pytest.mark.parametrize("experiment_id", ["reg", "softmax", "masks", "boxes", "houses"])
def test_its_models_are_evaluated_anew(project, experiment_id):
    name = f"{experiment_id}-now"
    assay(project, "eval", experiment_id, "--id", name, "--set", "predictions.batch_size=3")
    output = assay(project, "run", name, "--job", "job_eval")
    assert re.search(rf"^trained_model +[\d.]+ s  that of {experiment_id}", output, flags=re.M)
    assert re.search(r"^predictions +[\d.]+ s  built", output, flags=re.M)


def test_its_experiments_are_imported_into_another_storage(project, tmp_path):
    folder = tmp_path / "other"
    folder.mkdir()
    other = make_project(folder)
    location = f"former: {{url: {project.storage / 'experiments'}}}\n"
    (folder / "locations.yaml").write_text(location, encoding="utf-8")
    for experiment_id in ("reg", "masks"):
        assay(other, "import", experiment_id, "--from", "former")
        assert "found" in assay(other, "run", experiment_id)
