"""A training killed at any step and started again ends in the bytes of an undisturbed one, whatever is learned.

ASSAY_KILLS sets at how many random steps each kind of learning is killed; 20 before a release.
"""

import json
import os
import random
import signal

import pytest
import yaml

from assay.experiments.costs import stage_costs
from assay.storage.costs import SECONDS_BETWEEN_NOTES
from tests.helpers.projects import digests, make_project

pytestmark = pytest.mark.system

KILLS = int(os.environ.get("ASSAY_KILLS", "2"))

STEPS, EPOCHS = 6, 5

KINDS = {
    "regression": {"task": "regression"},
    "classification": {"task": "classification", "trained_model": {"model": {"kind": "cnn", "width": 4}}},
    "multi_label": {
        "task": "classification",
        "trained_model": {
            "model": {"kind": "cnn", "width": 4},
            "data_description": {
                "multi_label": True,
                "classes": [
                    {"name": "even", "subclasses": ["0", "2", "4", "6", "8"]},
                    {"name": "odd", "subclasses": ["1", "3", "5", "7", "9"]},
                ],
            },
        },
    },
    "segmentation": {"task": "segmentation", "trained_model": {"model": {"kind": "unet", "width": 4}}},
    "detection": {
        "task": "detection",
        "trained_model": {"model": {"kind": "detector", "width": 4}, "data_description": {"reductions": [1, 2]}},
    },
}
"""A tiny spec for each kind of learning."""

KILLED_AT_STEP = """
import os, signal, sys
from assay.training.sampler import Sampler
items, wanted = Sampler.items, int(sys.argv.pop(1))
def killing(self, step):
    if step == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    return items(self, step)
Sampler.items = killing
from assay.cli.main import script
script()
"""


NOTED_AND_KILLED = KILLED_AT_STEP.replace(
    "        os.kill",
    """        from pathlib import Path
        from time import sleep
        while not list(Path(os.environ["ASSAY_STORAGE"]).glob("data/trained_model/.scratch/*/cost.json")):
            sleep(0.05)
        os.kill""",
)
"""Waits at its step until what it cost so far has been noted."""


def spec(kind: str, checkpoint_every_s: float, **further: int) -> str:
    keys = KINDS[kind]
    params = {"epochs": EPOCHS, "steps_per_epoch": STEPS, "checkpoint_every_s": checkpoint_every_s, **further}
    return yaml.safe_dump(
        {
            "generated_images": {
                "source": {
                    "kind": "numbers",
                    "sample_count": 16,
                    "img_size": {"width": 96, "height": 96},
                    "max_amount": 3,
                }
            },
            "analysis": {"result_analyzer": {"bootstrap_samples": 50}},
            **keys,
            "trained_model": {**keys.get("trained_model", {}), "train_params": params},
        }
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_killed_at_random_steps_ends_in_the_same_bytes(kind, project, tmp_path_factory):
    undisturbed = make_project(tmp_path_factory.mktemp("undisturbed"))
    undisturbed.write("tiny", spec(kind, 30.0))
    code, output = undisturbed.assay("run", "tiny")
    assert code == 0, output
    project.write("tiny", spec(kind, 0.0))
    for step in sorted(random.Random(kind).sample(range(1, STEPS * EPOCHS), KILLS)):
        process = project.start("python", "-c", KILLED_AT_STEP, str(step), "run", "tiny")
        output, _ = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, output
        assert list(project.storage.glob("data/trained_model/.scratch/*/checkpoint.safetensors")) != []
    code, output = project.assay("run", "tiny")
    assert code == 0, output
    assert digests(project.storage) == digests(undisturbed.storage)
    assert list(project.storage.rglob("checkpoint.safetensors")) == []


def test_what_a_killed_attempt_of_several_processes_took_is_part_of_the_cost(project):
    project.write("tiny", spec("regression", 0.0, processes=2))
    process = project.start("python", "-c", NOTED_AND_KILLED, "12", "run", "tiny")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL, output
    (note,) = project.storage.glob("data/trained_model/.scratch/*/cost.json")
    noted = json.loads(note.read_text())
    code, output = project.assay("run", "tiny")
    assert code == 0, output
    cost = {each.stage: each.cost for each in stage_costs(project.storage, "tiny")}["trained_model"]
    assert cost.attempts == 2
    assert cost.wall_s > noted["wall_s"] >= SECONDS_BETWEEN_NOTES
    assert cost.cpu_s > noted["cpu_s"] > 0
    assert cost.peak_memory_mb >= noted["peak_memory_mb"]
    assert not note.exists()
    code, output = project.assay("show", "tiny")
    assert " in 2 attempts" in output
