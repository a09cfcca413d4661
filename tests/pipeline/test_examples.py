"""Every example experiment for real, with fewer images and epochs: from its file to metrics, pictures and checks."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from assay.spec.loading import load_values, merged
from assay.spec.yaml_text import to_yaml
from assay.storage.parquet import read_parquet
from tests.helpers.backbones import save_backbone

pytestmark = pytest.mark.system

EXAMPLES = sorted((Path(__file__).parents[2] / "experiments" / "examples").glob("*.yaml"))
STRUCTURE = ("split_leakage", "models_saved", "files_exist", "no_missing_values")
"""Tests that hold however little was learned."""
ONE_EPOCH = {"trained_model": {"train_params": {"epochs": 1}}}
TINY = {
    "analysis": {"result_analyzer": {"bootstrap_samples": 20}},
    "exptests": {"tests": [{"kind": kind} for kind in STRUCTURE]},
}

OTHERS = {
    "seed": 7,
    "splits": {"set_infos": [{"set_name": "test", "probability": 1.0}]},
    "predictions": {"datasets": ["test"]},
}
"""What an evaluation predicts instead: all of the data, generated ones from another seed."""


def tiny(values, folder):
    """Return an example's keys with less of everything."""
    source = dict(values["generated_images"]["source"])
    if source["kind"] == "numbers":
        source["sample_count"] = 40
    elif source["kind"] == "table":
        source["path"] = str(write_table(folder / "houses.csv", source["target_column"]))
    else:
        source["path"] = str(write_class_folders(folder / "images"))
    return merged(values, {**TINY, **tiny_model(values, folder), "generated_images": {"source": source}})


def tiny_model(values, folder):
    """Return one epoch, or a network of others that is there, whose head by default has no epochs."""
    if values.get("trained_model", {}).get("model", {}).get("kind") != "pretrained":
        return ONE_EPOCH
    return {"trained_model": {"model": {"weights": str(save_backbone(folder / "network"))}}}


def write_table(path, target):
    rng = np.random.default_rng(0)
    rooms, area = rng.integers(1, 7, 60), rng.uniform(30, 200, 60)
    pl.DataFrame({"rooms": rooms, "area": area, target: 1000 * area + 5000 * rooms}).write_csv(path)
    return path


def write_class_folders(folder):
    rng = np.random.default_rng(0)
    for name, colour in (("dark", 40), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(colour - 30, colour + 30, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


@pytest.mark.defect("C10")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_from_its_file_to_metrics_pictures_and_checks_and_is_evaluated(lab, path):
    spec = lab.folder / "experiments" / f"{path.stem}.yaml"
    spec.parent.mkdir()
    spec.write_text(to_yaml(tiny(load_values(path), lab.folder)))
    result = lab.run(path.stem)
    assert result.success, lab.failure(result)
    checks = {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
    assert all(checks[kind] for kind in STRUCTURE)
    analysis = lab.results(path.stem)["analysis"]
    assert set(read_parquet(analysis.folder / "analysis.parquet")["subset"]) == {"validation", "test"}
    assert analysis.pictures
    lab.write_plain("judge", **{"task": load_values(spec)["task"], "existing_experiment": path.stem, **OTHERS})
    evaluated = lab.run("judge", "job_eval")
    assert evaluated.success, lab.failure(evaluated)
    judged = lab.results("judge")
    assert judged["trained_model"] == lab.results(path.stem)["trained_model"]
    assert set(read_parquet(judged["analysis"].folder / "analysis.parquet")["subset"]) == {"test"}
    assert judged["analysis"].pictures


def test_the_examples_cover_every_kind_of_learning():
    covered = {load_values(path)["task"] for path in EXAMPLES}
    assert covered == {"regression", "classification", "segmentation", "detection"}
    assert any(
        load_values(path).get("trained_model", {}).get("data_description", {}).get("multi_label") for path in EXAMPLES
    )
