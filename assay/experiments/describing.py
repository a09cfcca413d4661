"""What an experiment's folder says of the experiment: what it is, what it was configured with, what it runs on.

Belongs here: experiment_info.yaml, configs/, versions, environment, and how folders are named. Does not belong here:
results, where folders are (``folders``).
"""

from datetime import UTC, datetime
from pathlib import Path
from string import Template
from typing import Any

from assay.experiments.provenance import environment, git_versions
from assay.files import write_text
from assay.spec.existing_experiment import ExistingExperiment
from assay.spec.experiment import SECTION_NAMES, TASK_PREFIX, ExperimentSpec
from assay.spec.secrets import without_keys
from assay.spec.yaml_text import to_yaml

INFO = "experiment_info.yaml"


def describe(folder: Path, experiment_id: str, run_id: str, spec: ExperimentSpec) -> None:
    """Write what the experiment is, what it was configured with and what it runs on."""
    removed = frozenset(spec.remove_key_list)
    info = {
        "experiment_id": experiment_id,
        "run_id": run_id,
        "task": spec.task,
        "prefix": prefix_of(spec.exp_folder_pattern, spec.task),
        "name": spec.name,
        "description": spec.description,
        "tags": spec.tags,
        **({"source": _source_of(spec.existing_experiment)} if spec.existing_experiment else {}),
        "updated": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    values = without_keys(spec.as_dict(), removed)
    for name in SECTION_NAMES:
        if name in values:
            write_text(folder / "configs" / name / "config.yaml", to_yaml(values[name]))
    write_text(folder / "configs" / "experiment.yaml", to_yaml(values))
    wanted = spec.trained_model.exp_initializer
    if wanted.git_versions:
        write_text(folder / "git_versions.yaml", to_yaml(git_versions(Path.cwd())))
    if wanted.environment:
        write_text(folder / "environment.yaml", to_yaml(environment()))
    write_text(folder / INFO, to_yaml(info))


def _source_of(evaluated: ExistingExperiment) -> dict[str, Any]:
    """Return which experiment's model is evaluated, and where that experiment is."""
    return evaluated.found.model_dump() if evaluated.found else evaluated.model_dump()


def prefix_of(pattern: str, task: str) -> str:
    """Return what the names of folders of a kind of experiments begin with, such as ``REG``."""
    return pattern_for(pattern, task).template.partition("$")[0].rstrip("-_.")


def pattern_for(pattern: str, task: str) -> Template:
    """Return a pattern of folder names with the task filled in."""
    return Template(Template(pattern).safe_substitute(PREFIX=TASK_PREFIX[task]))
