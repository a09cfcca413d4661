"""The stages of an experiment: what each reads, and the fingerprint that identifies its result.

Belongs here: the graph of stages and the hashing. Does not belong here: what a stage computes (``assay.stages``), where
results are stored (``assay.storage.results``).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from assay.spec.experiment import ExperimentSpec, FoundExperiment
from assay.spec.extensions import packages_of
from assay.spec.models import PretrainedModel
from assay.utils.text import canonical_json

FINGERPRINT_LENGTH = 24
"""Hex digits of a fingerprint: 96 bits, so that the probability of a collision among 10^9 results is 10^-11."""


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline.

    Attributes:
        name: Name of the asset, of the section in the spec and of the folder of results.
        code_version: Raised by hand whenever a change of the code changes the result of the same input.
        inputs: The stages whose results it may read.
        reads_task: Whether its result depends on the experiment's task.
    """

    name: str
    code_version: str
    inputs: tuple[str, ...]
    reads_task: bool = False


STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        Stage("generated_images", "2", ()),
        Stage("splits", "2", ("generated_images",)),
        Stage("crops", "1", ("splits",)),
        Stage("tabular", "1", ("generated_images", "splits", "crops")),
        Stage("normalized", "1", ("tabular",)),
        Stage("trained_model", "5", ("splits", "crops", "normalized"), reads_task=True),
        Stage("predictions", "2", ("trained_model", "splits", "crops", "normalized"), reads_task=True),
        Stage("analysis", "3", ("trained_model", "predictions", "splits", "crops", "normalized"), reads_task=True),
    )
}


FEATURES = Stage("features", "1", ("crops",))
"""Features of a frozen network: no asset, but a result that trainings and predictions on the same pictures share."""

STORED: dict[str, Stage] = {**STAGES, FEATURES.name: FEATURES}
"""Whatever has folders of results."""

CLASS_WEIGHTS_VERSION = 2
"""Raised like a ``code_version``, but only classifiers with class weights become outdated."""

DATA_OF_MODELS = ("splits", "crops", "normalized")
"""Stages that a model may be trained on: whole images, crops, rows of a table; each experiment uses one of them."""


class StageSection(Protocol):
    """What the sections of the spec for all stages have in common."""

    @property
    def output_location(self) -> str:
        """Folder of the results, below the storage root."""

    @property
    def clear_folder(self) -> bool:
        """Whether the result is rebuilt even if it exists."""

    def content(self) -> dict[str, Any]:
        """Return the values that determine the result."""


AnySection = TypeVar("AnySection", covariant=True)


@dataclass(frozen=True)
class StageConfig(Generic[AnySection]):
    """The part of an experiment's spec that one stage reads, and nothing else.

    Attributes:
        experiment_id: ID of the experiment, for messages; not part of the digest.
        stage: Name of the stage or section.
        task: The experiment's learning task: the spec's task, or ``multi_label``.
        seed: The section's own seed, or else the experiment's.
        section: The validated section.
        found: The experiment whose model is evaluated; None if a model is trained.
        digest: Hash of what the stage reads; equal digests and equal inputs give equal results.
    """

    experiment_id: str
    stage: str
    task: str
    seed: int
    section: AnySection
    digest: str
    found: FoundExperiment | None = None

    def fingerprint(self, inputs: Mapping[str, str]) -> str:
        """Return the fingerprint of the result for these inputs; an evaluated model keeps the one it was trained with.

        Args:
            inputs: Fingerprint or content digest, by name, of everything else that the stage reads.
        """
        if self.stage == "trained_model" and self.found is not None:
            return self.found.model
        return digest_of([self.stage, STORED[self.stage].code_version, self.digest, sorted(inputs.items())])


def digest_of(value: Any) -> str:
    """Return the hash of a JSON-like value; the order of keys does not matter, the order of lists does."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:FINGERPRINT_LENGTH]


def stage_config(spec: ExperimentSpec, experiment_id: str, stage: str) -> StageConfig[Any]:
    """Return the part of a spec that a stage reads."""
    section = spec.section(stage)
    seed = getattr(section, "seed", None)
    seed = spec.seed if seed is None else seed
    content: dict[str, Any] = {"section": section.content()}
    if "seed" in type(section).model_fields:
        content["section"]["seed"] = seed
    weights = getattr(section, "starting_weights", None)
    if weights is not None:
        content["starting_weights"] = weights.digest()
    model = getattr(section, "model", None)
    if isinstance(model, PretrainedModel):
        content["pretrained"] = [model.digest(), FEATURES.code_version]
    if stage not in STAGES or STAGES[stage].reads_task:
        content["task"] = spec.learning
    if stage == "trained_model" and spec.task == "classification" and spec.trained_model.weighs_classes:
        content["class_weights"] = CLASS_WEIGHTS_VERSION
    if stage == "normalized" and spec.found is not None and spec.found.scaling:
        content["scaling"] = spec.found.scaling
    if packages := packages_used(spec, stage):
        content["packages"] = packages
    return StageConfig(experiment_id, stage, spec.learning, seed, section, digest_of(content), spec.found)


def packages_used(spec: ExperimentSpec, stage: str) -> dict[str, str]:
    """Return the version of each installed package that a stage's result depends on, by the package's name."""
    packages = packages_of(spec.section(stage))
    if stage == "predictions" and spec.trained_model.model is not None:
        # In an evaluation, the model's fingerprint is that of its training, maybe with another version of its network.
        packages = {**packages_of(spec.trained_model.model), **packages}
    return packages


def needed_stages(spec: ExperimentSpec) -> tuple[str, ...]:
    """Return the stages that the experiment's analysis depends on, in pipeline order."""
    needed: set[str] = set()
    pending = ["analysis"]
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending.extend(used_inputs(spec, name))
    return tuple(name for name in STAGES if name in needed)


def why_not_needed(spec: ExperimentSpec, stage: str) -> str:
    """Return why nothing in the experiment reads a stage; empty if something does."""
    if stage in needed_stages(spec):
        return ""
    data = {"splits": "whole images", "crops": "crops", "normalized": "rows of a table"}[trains_from(spec)]
    kind = spec.learning.replace("_", "-")
    return f"Nothing in this experiment reads {stage}: its {kind} model is trained on {data}. It was not made."


def used_inputs(spec: ExperimentSpec, stage: str) -> tuple[str, ...]:
    """Return the inputs that a stage actually reads for the spec's task and data source."""
    inputs = STAGES[stage].inputs
    if stage == "trained_model" and spec.found is not None:
        return ()
    if stage == "tabular":
        return tuple(name for name in inputs if name != ("generated_images" if spec.uses_images else "crops"))
    if stage in ("trained_model", "predictions", "analysis"):
        data = trains_from(spec)
        shown = "crops" if stage == "analysis" and spec.uses_images and data != "splits" else data
        return tuple(name for name in inputs if name in (data, shown) or name not in DATA_OF_MODELS)
    return inputs


def trains_from(spec: ExperimentSpec) -> str:
    """Return the one of ``DATA_OF_MODELS`` that the model is trained on."""
    if spec.learning in ("segmentation", "detection"):
        return "splits"
    chosen = spec.trained_model.data_description.input
    if chosen is not None:
        return str(chosen)
    return "normalized" if spec.task == "regression" or not spec.uses_images else "crops"
