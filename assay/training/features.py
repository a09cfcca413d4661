"""Features of a frozen network: computed once for all pictures of a result of ``crops``, then only read.

They are a result of their own beside the stages', so that the trainings of other heads and all predictions start from
numbers. It also has the network's weights, which each trained model holds as well: a model needs no other file.

Belongs here: that result, rows of features in place of pictures, a head and its network as one model. Does not belong
here: the network (``models.pretrained``), training (``trainer``, ``fitted_models``).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from assay.errors import AssayError, DataError, FileError, StorageError
from assay.pipeline import FEATURES, StageConfig, digest_of
from assay.spec.base import Location, Section, Switch
from assay.spec.defaults import of_features
from assay.spec.models import PretrainedModel
from assay.spec.trained_model import TrainedModelSection
from assay.spec.weights import PREPROCESSOR
from assay.storage.files import write_json
from assay.storage.parquet import read_parquet, write_parquet
from assay.storage.results import Result, ResultStore
from assay.training.checkpoint import Weights
from assay.training.data import DataSource
from assay.training.device import available_device, deterministic
from assay.training.engine import forward
from assay.training.inputs import Inputs, as_batch, load_inputs
from assay.training.model_card import ModelCard
from assay.training.model_file import LoadedModel, load_model, network_of, read_card
from assay.training.models.pretrained import Backbone, FeatureNetwork, Pretrained, read_backbone
from assay.training.trainer import weights_of
from assay.utils.concurrency import Progress, silent
from assay.utils.reading import read_record
from assay.utils.text import pluralize

TABLE, WEIGHTS, DESCRIPTION = "features.parquet", "backbone.safetensors", "backbone.json"

PICTURES_AT_ONCE = 32

Floats = NDArray[np.float32]


class FeaturesSection(Section):
    """What the features of pictures depend on, besides the pictures."""

    weights: str
    """SHA-256 of the network's files."""
    image_size: int | None
    """Side in pixels of the pictures, where it is not the network's own."""
    threads: int
    """Number of CPU threads; another number rounds differently."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Whether they are computed again."""


@dataclass(frozen=True)
class Features:
    """The features of all pictures of a result of ``crops``.

    Attributes:
        backbone: The network that computed them.
        fingerprint: Of the result.
        values: (n, features), in the order of the pictures' table.
        weights: Of the network.
    """

    backbone: Backbone
    fingerprint: str
    values: Floats
    weights: Weights

    def rows(self, source: DataSource, shift: Tensor, scale: Tensor) -> DataSource:
        """Return the pictures' table as a source of rows with a column per feature, shifted and scaled."""
        names = tuple(f"feature_{place}" for place in range(self.values.shape[1]))
        columns = pl.from_numpy((self.values - shift.numpy()) / scale.numpy(), schema=list(names))
        return replace(source, rows=read_parquet(source.table).hstack(columns).lazy(), columns=names)


def shared_features(
    source: DataSource,
    section: FeaturesSection,
    make: Callable[[], tuple[Backbone, FeatureNetwork]],
    device: str = "cpu",
    progress: Progress = silent,
) -> Features:
    """Return the features of all pictures of a source: those that exist, or else compute them.

    Args:
        source: A result of ``crops``.
        section: What they depend on besides.
        make: Returns the network; called only if they don't exist.
        device: ``cpu`` or ``cuda``.
        progress: Called while they are computed.

    Raises:
        DataError: A picture can't be read.
        StorageError: They can't be written.
    """
    data, root = Result(source.kind, source.fingerprint, source.folder), source.folder.parents[2]
    config = StageConfig("", FEATURES.name, "", 0, section, digest_of(section.content()))
    found: list[Features] = []
    store = ResultStore(root)
    with store.build(config, {data.stage: data}, publish=lambda result: found.append(_read(result))) as build:
        if build.needed:
            backbone, network = make()
            table = _computed(source, backbone, network.to(device), section.threads, progress)
            write_parquet(table, build.folder / TABLE)
            save_file(weights_of(network), build.folder / WEIGHTS)
            write_json(build.folder / DESCRIPTION, backbone.model_dump(mode="json"))
            build.report = {"pictures": len(table), "features": backbone.features, "size": backbone.size}
    return found[0]


def _read(result: Result) -> Features:
    """Return what a result holds, all of it: from then on it may be deleted."""
    folder = result.folder
    values = read_parquet(folder / TABLE).drop("item").to_numpy(order="c")
    try:
        backbone = Backbone.model_validate(read_record(folder / DESCRIPTION))
        weights = load_file(folder / WEIGHTS)
    except (FileError, OSError, SafetensorError, ValidationError) as error:
        raise StorageError(f"{folder} is damaged ({error}). Delete it: it is made anew by the next run.") from error
    return Features(backbone, result.fingerprint, values, weights)


def _computed(
    source: DataSource, backbone: Backbone, network: FeatureNetwork, threads: int, progress: Progress
) -> pl.DataFrame:
    rows, inputs = read_parquet(source.table), pictures_of(backbone)
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts: list[Tensor] = []
    with deterministic(threads, 0, next(network.parameters()).device.type), torch.no_grad():
        for first in range(0, len(rows), PICTURES_AT_ONCE):
            part = rows[first : first + PICTURES_AT_ONCE]
            parts.append(forward(network, as_batch(inputs, load_inputs(inputs, source, part, threads))).cpu())
            progress(0, 1, f"features of {first + len(part):,} of {pluralize(len(rows), 'picture')}", {})
    values = torch.cat(parts).numpy()
    if bad := rows["item"].filter(~np.isfinite(values).all(axis=1)).to_list():
        raise DataError(
            f"The network's features of {pluralize(len(bad), 'picture')} are not finite. Fetch it again.", bad
        )
    names = [f"feature_{place}" for place in range(backbone.features)]
    return rows.select("item").hstack(pl.from_numpy(values, schema=names))


def pictures_of(backbone: Backbone) -> Inputs:
    """Return how a picture becomes what the network reads: fitted into a square, white = 1."""
    return Inputs(view="crops", image_size=backbone.size, standardize=False)


@dataclass(frozen=True)
class FrozenNetwork:
    """The network in front of a head that is trained: its features are standardized by those of the training pictures.

    Attributes:
        features: Of all pictures.
        section: The spec of the training, as written.
        source: The pictures.
        shift: What is subtracted from the features, (features,).
        scale: By what they are then divided.
    """

    features: Features
    section: TrainedModelSection
    source: DataSource
    shift: Tensor
    scale: Tensor

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting the model."""
        size, found = self.features.backbone.size, []
        if self.features.backbone.is_assumed:
            found.append(
                f"The folder of model.weights has no {PREPROCESSOR}: the network got pictures of {size} px with the "
                "mean and standard deviation of ImageNet. Add the file if it learned from others."
            )
        crops = Result(self.source.kind, self.source.fingerprint, self.source.folder).manifest["section"]
        most = crops.get("max_size", size)  # a spec may keep it out of what is recorded
        sides = read_parquet(self.source.table, ["width_px", "height_px"])
        count = len(sides.filter(pl.max_horizontal("width_px", "height_px") > most))
        if size > most and count:
            found.append(
                f"The network reads pictures of {size} px, but {pluralize(count, 'picture was', 'pictures were')} "
                f"reduced to {most} px (crops.max_size) before. Set crops.max_size: {size} to keep their details."
            )
        return tuple(found)

    @property
    def rows(self) -> DataSource:
        """The table that the head is trained on."""
        return self.features.rows(self.source, self.shift, self.scale)

    def marked(self, card: ModelCard) -> ModelCard:
        """Return the card of a head that is being trained, which says of which features: no other goes on from it."""
        return card.model_copy(update={"trained_on": {**card.trained_on, FEATURES.name: self.features.fingerprint}})

    def whole(self, weights: Weights, card: ModelCard) -> tuple[Weights, ModelCard]:
        """Return weights and card of network and head together, from those of the head."""
        body = {f"backbone.{name}": value for name, value in self.features.weights.items()}
        head = {f"head.{name}": value for name, value in weights.items()}
        return {**body, **head, "shift": self.shift, "scale": self.scale}, self._card(card)

    def _card(self, card: ModelCard) -> ModelCard:
        description = card.section.data_description.model_copy(update={"input": "crops", "standardize": False})
        section = card.section.model_copy(update={"model": self.section.model, "data_description": description})
        backbone, source = self.features.backbone, {self.source.kind: self.source.fingerprint}
        inputs = pictures_of(backbone)
        return card.model_copy(
            update={"section": section, "inputs": inputs, "backbone": backbone, "trained_on": source}
        )


def frozen_network(
    section: TrainedModelSection, source: DataSource, progress: Progress = silent
) -> FrozenNetwork | None:
    """Return the frozen network of a training, with the features of its pictures; None where none is asked for.

    Raises:
        AssayError: A package is missing.
        DataError: The network or a picture can't be read.
    """
    model, params = section.model, section.train_params
    if not isinstance(model, PretrainedModel):
        return None
    wanted, size = _wanted(source, section, model.digest()), section.data_description.image_size
    device = available_device(params.device, params.processes)
    features = shared_features(
        source, wanted, lambda: read_backbone(model.weights, wanted.weights, size), device, progress
    )
    subsets = read_parquet(source.table, ["subset"])["subset"]
    train = torch.from_numpy(features.values[(subsets == section.data_train.subset).to_numpy()]).double()
    shift, scale = (train.mean(0), train.std(0, unbiased=False)) if len(train) else (torch.zeros(()), torch.ones(()))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return FrozenNetwork(features, section, source, shift.float(), scale.float())


def _wanted(source: DataSource, section: TrainedModelSection, digest: str) -> FeaturesSection:
    return FeaturesSection(
        weights=digest,
        image_size=section.data_description.image_size,
        threads=section.train_params.threads,
        output_location=source.folder.parents[1].name,
    )


def head_on_features(path: Path, source: DataSource) -> tuple[LoadedModel, DataSource] | None:
    """Return the head of a model of a frozen network, and the rows that it predicts; None for every other model.

    Args:
        path: The model's file.
        source: The pictures to predict.

    Raises:
        StorageError: The file can't be read.
        DataError: A picture can't be read.
    """
    card = read_card(path)
    backbone = card.backbone
    if backbone is None:
        return None
    wanted = _wanted(source, card.section, backbone.digest)
    features = shared_features(source, wanted, lambda: (backbone, _network_in(path)))
    with safe_open(path, framework="pt") as opened:
        names = [name for name in opened.keys() if not name.startswith("backbone.")]  # noqa: SIM118 - no mapping
        tensors: dict[str, Any] = {name.removeprefix("head."): opened.get_tensor(name) for name in names}
    rows = features.rows(source, tensors.pop("shift"), tensors.pop("scale"))
    inputs = Inputs(view="columns", columns=rows.features, standardize=False)
    head = card.model_copy(update={"section": of_features(card.section), "inputs": inputs, "backbone": None})
    network = network_of(head)
    network.load_state_dict(tensors)
    return LoadedModel(head, network.eval()), rows


def _network_in(path: Path) -> FeatureNetwork:
    network = load_model(path).network
    if not isinstance(network, Pretrained):
        raise AssayError(f"{path} holds no network that others have trained.")
    return network.backbone
