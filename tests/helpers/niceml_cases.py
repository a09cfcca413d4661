"""Every key of niceml: the experiment that it changes, and where the change can be seen.

Belongs here: cases, and ways to see. Does not belong here: running them (``test_keys_of_niceml``).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl

from assay.experiments.contents import stage_results
from assay.spec.yaml_text import read_mapping
from tests.pipeline.conftest import FAST, Lab

STAGES = ("generated_images", "splits", "crops", "tabular", "normalized", "trained_model", "predictions", "analysis")
NUMBERS = {"task": "regression", **FAST}
FOLDER = {"task": "classification", "generated_images": {"source": {"kind": "image_folder", "path": "PHOTOS"}}}
TABLE = {
    "task": "regression",
    "generated_images": {"source": {"kind": "table", "path": "HOUSES", "target_column": "price"}},
}
EVALUATION = {"task": "regression", "existing_experiment": "numbers"}
BASES = {"numbers": NUMBERS, "folder": FOLDER, "table": TABLE, "evaluation": EVALUATION}


@dataclass(frozen=True)
class Case:
    """A key, and where it can be seen.

    Attributes:
        base: Name of the experiment that it changes.
        keys: What is changed.
        until: The asset up to which both are run.
        see: From the lab and an experiment's ID to what is compared.
        wanted: What is seen with the key set.
    """

    base: str
    keys: dict[str, Any]
    until: str
    see: Callable[[Lab, str], Any]
    wanted: Any = field(default=...)


def result(lab, name, stage):
    return stage_results(lab.store.path, name)[stage]


def rows(stage, file=None):
    """See the table of a stage."""
    return lambda lab, name: pl.read_parquet(result(lab, name, stage).folder / (file or f"{stage}.parquet"))


def column(stage, name, file=None):
    """See the different values of a column."""
    return lambda lab, experiment: sorted(set(rows(stage, file)(lab, experiment)[name].to_list()))


def count(stage, file=None):
    return lambda lab, name: len(rows(stage, file)(lab, name))


def report(stage, key):
    return lambda lab, name: result(lab, name, stage).report[key]


def place(stage):
    """See the folder below the storage root in which a stage's result was put."""

    def see(lab, name):
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage), asset_partitions=[name])
        (record,) = lab.instance.fetch_materializations(wanted, limit=1).records
        return Path(record.asset_materialization.metadata["folder"].value).relative_to(lab.store.path).parts[0]

    return see


def built(stage):
    """See which files a result consists of: new ones, when it was built again."""
    return lambda lab, name: (result(lab, name, stage).folder / "manifest.json").stat().st_ino


def files(stage, pattern):
    return lambda lab, name: sorted(path.name for path in result(lab, name, stage).folder.glob(pattern))


def folder(lab, name):
    return lab.store.folders.find(name).path


def saved(section, key):
    """See whether a key is in a saved configuration."""
    return lambda lab, name: f"{key}:" in (folder(lab, name) / "configs" / section / "config.yaml").read_text()


def info(key):
    return lambda lab, name: read_mapping((folder(lab, name) / "experiment_info.yaml").read_text(), name).get(key)


def history(metric):
    """See the values of a metric over the epochs, by subset."""

    def see(lab, name):
        table = rows("trained_model", "training_history.parquet")(lab, name).filter(pl.col("metric") == metric)
        return table.select("subset", "epoch", "value").rows()

    return see


def parent(lab, name):
    return folder(lab, name).parent.name


def lines_of_tests(lab, name):
    return (folder(lab, name) / "exp_tests.csv").read_text().splitlines()[1:]


SETS = [{"set_name": "train", "probability": 0.5}, {"set_name": "test", "probability": 0.5}]
NO_VALIDATION = {"data_validation": None, "train_params": {"epochs": 2, "choose_epoch": "last"}}

CASES: dict[tuple[str, str], Case] = {
    ("experiment", "exp_folder_pattern"): Case(
        "numbers", {"exp_folder_pattern": "MINE-$SHORT_ID"}, "experiment", info("prefix"), "MINE"
    ),
    ("experiment", "exp_out_location"): Case(
        "numbers", {"exp_out_location": "elsewhere"}, "experiment", parent, "elsewhere"
    ),
    ("train", "data_description"): Case(
        "numbers",
        {"trained_model": {"data_description": {"inputs": ["px_0_*"]}}},
        "trained_model",
        report("trained_model", "input_shape"),
        [10],
    ),
    ("train", "data_train"): Case(
        "numbers", {"trained_model": {"data_train": {"batch_size": 4}}}, "trained_model", history("loss")
    ),
    ("train", "data_validation"): Case(
        "numbers", {"trained_model": {"data_validation": {"subset": "test"}}}, "trained_model", history("loss")
    ),
    ("train", "exp_initializer"): Case(
        "numbers",
        {"trained_model": {"exp_initializer": {"git_versions": False}}},
        "experiment",
        lambda lab, name: (folder(lab, name) / "git_versions.yaml").exists(),
        False,
    ),
    ("train", "learner"): Case(
        "numbers", {"trained_model": {"learner": {"learning_rate": 0.5}}}, "trained_model", history("loss")
    ),
    ("train", "model"): Case(
        "numbers",
        {"trained_model": {"model": {"kind": "mlp", "width": 8}}},
        "trained_model",
        report("trained_model", "parameters"),
    ),
    ("train", "remove_key_list"): Case(
        "numbers",
        {"trained_model": {"remove_key_list": ["learner"]}},
        "experiment",
        saved("trained_model", "learner"),
        False,
    ),
    ("train", "train_params"): Case(
        "numbers",
        {"trained_model": {"train_params": {"epochs": 3}}},
        "trained_model",
        report("trained_model", "epochs"),
        3,
    ),
    ("prediction", "datasets"): Case(
        "numbers", {"predictions": {"datasets": ["test"]}}, "predictions", column("predictions", "subset"), ["test"]
    ),
    ("prediction", "model_loader"): Case(
        "numbers",
        {"predictions": {"model_loader": {"kind": "last"}}},
        "predictions",
        report("predictions", "model"),
        "models/last.safetensors",
    ),
    ("prediction", "prediction_function"): Case(
        "numbers",
        {"predictions": {"prediction_function": {"kind": "augmented", "copies": 2}}},
        "predictions",
        column("predictions", "prediction"),
    ),
    ("prediction", "prediction_handler"): Case(
        "numbers",
        {"predictions": {"prediction_handler": {"copy_columns": ["px_0_0"]}}},
        "predictions",
        lambda lab, name: "px_0_0" in rows("predictions")(lab, name).columns,
        True,
    ),
    ("prediction", "prediction_steps"): Case(
        "numbers",
        {"predictions": {"prediction_steps": 1, "batch_size": 2}},
        "predictions",
        report("predictions", "predicted"),
        {"validation": 2, "test": 2},
    ),
    ("prediction", "remove_key_list"): Case(
        "numbers",
        {"predictions": {"remove_key_list": ["datasets"]}},
        "experiment",
        saved("predictions", "datasets"),
        False,
    ),
    ("analysis", "result_analyzer"): Case(
        "numbers",
        {"analysis": {"result_analyzer": {"metrics": ["mae"]}}},
        "analysis",
        column("analysis", "metric"),
        ["mae"],
    ),
    ("analysis", "remove_key_list"): Case(
        "numbers",
        {"analysis": {"remove_key_list": ["confidence"]}},
        "experiment",
        saved("analysis", "confidence"),
        False,
    ),
    ("exptests", "tests"): Case(
        "numbers",
        {"exptests": {"tests": [{"kind": "metric", "subset": "test", "metric": "mae", "operator": "<", "value": 0.0}]}},
        "analysis",
        lambda lab, name: [line.split(",")[2] for line in lines_of_tests(lab, name)],
        ["False"],
    ),
    ("exptests", "remove_key_list"): Case(
        "numbers", {"exptests": {"remove_key_list": ["severity"]}}, "experiment", saved("exptests", "severity"), False
    ),
    ("localize_experiment", "existing_experiment"): Case(
        "evaluation",
        {"existing_experiment": "other"},
        "trained_model",
        lambda lab, name: info("source")(lab, name)["experiment_id"],
        "other",
    ),
    ("localize_experiment", "exp_folder_pattern"): Case(
        "evaluation",
        {"exp_folder_pattern": "HOUSES-$SHORT_ID", "existing_experiment": "latest"},
        "experiment",
        lambda lab, name: info("source")(lab, name)["experiment_id"],
        "houses",
    ),
    ("localize_experiment", "exp_out_location"): Case(
        "evaluation", {"exp_out_location": "judged"}, "experiment", parent, "judged"
    ),
    ("eval_copy_exp", "description"): Case(
        "evaluation", {"description": "on new data"}, "experiment", info("description"), "on new data"
    ),
    ("eval_copy_exp", "exp_folder_pattern"): Case(
        "evaluation",
        {"exp_folder_pattern": "EVAL-$RUN_ID"},
        "trained_model",
        lambda lab, name: folder(lab, name).name[:5],
        "EVAL-",
    ),
    ("eval_copy_exp", "exp_out_location"): Case(
        "evaluation",
        {"exp_out_location": "copies"},
        "trained_model",
        lambda lab, name: (lab.store.path / "copies" / folder(lab, name).name / "models").is_dir(),
        True,
    ),
    ("data_generation", "data_generator"): Case(
        "numbers",
        {"generated_images": {"source": {"sample_count": 7}}},
        "generated_images",
        count("generated_images", "items.parquet"),
        7,
    ),
    ("split_data", "clear_folder"): Case("numbers", {"splits": {"clear_folder": True}}, "splits", built("splits")),
    ("split_data", "max_split"): Case(
        "folder",
        {"splits": {"name_delimiter": "_", "max_split": 2}},
        "splits",
        column("splits", "group", "items.parquet"),
    ),
    ("split_data", "name_delimiter"): Case(
        "folder", {"splits": {"name_delimiter": "_"}}, "splits", column("splits", "group", "items.parquet")
    ),
    ("split_data", "output_location"): Case(
        "numbers", {"splits": {"output_location": "split"}}, "splits", place("splits"), "split"
    ),
    ("split_data", "recursive"): Case(
        "folder", {"splits": {"recursive": False}}, "splits", count("splits", "items.parquet"), 24
    ),
    ("split_data", "set_infos"): Case(
        "numbers",
        {"splits": {"set_infos": SETS}, "trained_model": NO_VALIDATION, "predictions": {"datasets": ["test"]}},
        "splits",
        column("splits", "subset", "items.parquet"),
        ["test", "train"],
    ),
    ("split_data", "sub_dir"): Case(
        "folder", {"splits": {"sub_dir": "photos"}}, "splits", files("splits", "train/*"), ["photos"]
    ),
    ("crop_numbers", "clear_folder"): Case("numbers", {"crops": {"clear_folder": True}}, "crops", built("crops")),
    ("crop_numbers", "name_delimiter"): Case(
        "numbers", {"crops": {"name_delimiter": "="}}, "crops", column("crops", "file", "crops.parquet")
    ),
    ("crop_numbers", "output_location"): Case(
        "numbers", {"crops": {"output_location": "cut"}}, "crops", place("crops"), "cut"
    ),
    ("crop_numbers", "recursive"): Case("folder", {"crops": {"recursive": False}}, "crops", count("crops"), 24),
    ("crop_numbers", "sub_dir"): Case(
        "numbers", {"crops": {"sub_dir": "cut"}}, "crops", files("crops", "train/*"), ["cut"]
    ),
    ("image_to_tabular_data", "clear_folder"): Case(
        "numbers", {"tabular": {"clear_folder": True}}, "tabular", built("tabular")
    ),
    ("image_to_tabular_data", "name_delimiter"): Case(
        "folder", {"tabular": {"name_delimiter": "_"}}, "tabular", column("tabular", "label")
    ),
    ("image_to_tabular_data", "output_location"): Case(
        "numbers", {"tabular": {"output_location": "tables-of-pixels"}}, "tabular", place("tabular"), "tables-of-pixels"
    ),
    ("image_to_tabular_data", "recursive"): Case(
        "folder", {"tabular": {"recursive": False}}, "tabular", count("tabular"), 24
    ),
    ("image_to_tabular_data", "sub_dir"): Case(
        "folder", {"tabular": {"sub_dir": "cat"}}, "tabular", count("tabular"), 15
    ),
    ("image_to_tabular_data", "target_image_size"): Case(
        "numbers",
        {"tabular": {"target_image_size": {"width": 4, "height": 4}}},
        "tabular",
        lambda lab, name: sum(each.startswith("px_") for each in rows("tabular")(lab, name).columns),
        16,
    ),
    ("image_to_tabular_data", "use_dirs_as_subsets"): Case(
        "numbers", {"tabular": {"use_dirs_as_subsets": False}}, "tabular", column("tabular", "subset"), ["train"]
    ),
    ("df_normalization", "binary_feature_keys"): Case(
        "table",
        {"normalized": {"binary_feature_keys": ["garden", "place"]}},
        "normalized",
        report("normalized", "binary_columns"),
        2,
    ),
    ("df_normalization", "categorical_feature_keys"): Case(
        "table",
        {"normalized": {"categorical_feature_keys": ["garden", "place"], "binary_feature_keys": []}},
        "normalized",
        report("normalized", "categorical_columns"),
        2,
    ),
    ("df_normalization", "output_norm_feature_info_file_name"): Case(
        "numbers",
        {"normalized": {"output_norm_feature_info_file_name": "scaling.yaml"}},
        "normalized",
        files("normalized", "*.yaml"),
        ["scaling.yaml"],
    ),
    ("df_normalization", "output_parq_location"): Case(
        "numbers", {"normalized": {"output_parq_location": "scaled"}}, "normalized", place("normalized"), "scaled"
    ),
    ("df_normalization", "scalar_feature_keys"): Case(
        "numbers",
        {"normalized": {"scalar_feature_keys": ["px_0_*"]}},
        "normalized",
        report("normalized", "scalar_columns"),
        10,
    ),
}
