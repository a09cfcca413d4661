"""Where each op and ConfigKey of niceml, the op-based system that Assay re-imagines, has its home.

Belongs here: names there and names here. Does not belong here: what they do (the specs' and assets' own descriptions).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

FOLDER = {"exp_folder_pattern": "exp_folder_pattern", "exp_out_location": "exp_out_location"}
REMOVED = {"remove_key_list": "remove_key_list"}
LOCKED = {"filelock_dict": "filelock_dict"}


def _below(section: str, *names: str, **renamed: str) -> dict[str, str]:
    """Return keys of a section that have the same name there, and those that are called otherwise here."""
    return {**{name: f"{section}.{name}" for name in names}, **{k: f"{section}.{name}" for k, name in renamed.items()}}


@dataclass(frozen=True)
class Op:
    """An op of niceml.

    Attributes:
        name: Its name there.
        home: The asset, check or op here that does its work.
        keys: Key of the spec, with dots, by ConfigKey; of ops here, key of the run's configuration.
    """

    name: str
    home: str
    keys: Mapping[str, str] = field(default_factory=dict)


LOCKS = (Op("acquire_locks", "every asset", LOCKED), Op("release_locks", "every asset"))

EXPERIMENT = Op("experiment", "experiment", FOLDER)

DATA = (
    Op("data_generation", "generated_images", _below("generated_images", data_generator="source")),
    Op(
        "split_data",
        "splits",
        _below(
            "splits",
            *("clear_folder", "max_split", "name_delimiter", "output_location", "recursive", "set_infos", "sub_dir"),
        ),
    ),
    Op(
        "crop_numbers",
        "crops",
        _below("crops", "clear_folder", "name_delimiter", "output_location", "recursive", "sub_dir"),
    ),
    Op(
        "image_to_tabular_data",
        "tabular",
        _below(
            "tabular",
            *("clear_folder", "name_delimiter", "output_location", "recursive", "sub_dir"),
            *("target_image_size", "use_dirs_as_subsets"),
        ),
    ),
    Op(
        "df_normalization",
        "normalized",
        _below(
            "normalized",
            *("binary_feature_keys", "categorical_feature_keys", "output_norm_feature_info_file_name"),
            *("output_parq_location", "scalar_feature_keys"),
        ),
    ),
)

TRAIN = Op(
    "train",
    "trained_model",
    {
        **_below(
            "trained_model",
            *("data_description", "data_train", "data_validation", "exp_initializer", "learner", "model"),
            "train_params",
        ),
        **REMOVED,
    },
)

JUDGED = (
    Op(
        "prediction",
        "predictions",
        {
            **_below(
                "predictions",
                *("datasets", "model_loader", "prediction_function", "prediction_handler", "prediction_steps"),
            ),
            **REMOVED,
        },
    ),
    Op("analysis", "analysis", {**_below("analysis", "result_analyzer"), **REMOVED}),
    Op("exptests", "exptests", {**_below("exptests", "tests"), **REMOVED}),
)

ADOPTED = (
    Op("localize_experiment", "experiment", {"existing_experiment": "existing_experiment", **FOLDER}),
    Op("eval_copy_exp", "experiment", {"description": "description", **FOLDER}),
)

COPY = Op("copy_exp", "copy_exp", {name: name for name in ("experiment_id", "input_loc_name", "output_loc_name")})

OPS: dict[str, tuple[Op, ...]] = {
    "job_train": (*LOCKS, EXPERIMENT, TRAIN, *JUDGED),
    "job_eval": (*LOCKS, *ADOPTED, *JUDGED),
    "job_copy_exp": (COPY,),
    "job_data_generation": DATA,
    "job_experiment": (*LOCKS, EXPERIMENT, *DATA, TRAIN, *JUDGED),
}
"""The ops of each job; ``job_experiment`` is their sum, which niceml has not."""
