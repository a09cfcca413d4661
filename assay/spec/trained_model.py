"""Section ``trained_model``: which network learns what, from which data, and how."""

from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from assay.spec.base import PLACE_ONLY, Location, Probability, Section, Switch
from assay.spec.classes import DataDescription, did_you_mean
from assay.spec.models import AnyModel


class Augmentation(Section):
    """Random changes of every training batch; never of validation or test data. Null: by the kind of input; 0: none."""

    rotation_degrees: float | None = Field(default=None, ge=0, le=180)
    """Largest angle to either side. Images and pixels only."""
    zoom: float | None = Field(default=None, ge=0, le=1)
    """Largest enlargement or reduction, as a fraction of the size. Images and pixels only."""
    shift: float | None = Field(default=None, ge=0, le=1)
    """Largest shift in each direction, as a fraction of the size. Images and pixels only."""
    invert_probability: Probability | None = None
    """Share of the items whose light and dark are exchanged. Images and pixels only."""
    colour_shift: float | None = Field(default=None, ge=0, le=10)
    """Largest shift of each colour channel, in standard deviations of the image. Images only."""
    contrast: float | None = Field(default=None, ge=0, le=2)
    """Largest change of contrast, as a fraction. Images only."""
    noise: float | None = Field(default=None, ge=0, le=10)
    """Standard deviation of the noise added to every value, in the values' own unit after standardization."""


class TrainingData(Section):
    """How the network sees its training data."""

    subset: str = Field(default="train", min_length=1)
    """Name of the subset."""
    batch_size: int | None = Field(default=None, ge=2, le=65_536)
    """Items per step; fewer when the subset is smaller. Null: by the kind of input."""
    balance: Literal["classes"] | None = None
    """See every class equally often: items of rare classes several times in an epoch, whole images in windows around
    objects of such classes; null: every item once. Not for regression."""
    shuffle: bool = True
    """Draw a new order for every epoch; without, the order is that of the table."""
    augmentation: Augmentation = Augmentation()
    """Random changes of every batch."""


class ValidationData(Section):
    """The data that choose the epoch."""

    subset: str = Field(default="validation", min_length=1)
    """Name of the subset."""
    batch_size: int = Field(default=512, ge=1, le=65_536)
    """Items evaluated at once; does not change results beyond rounding."""


PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".h5", ".hdf5", ".keras")

ADVICE = (
    "convert it once, where you trust it: read it with torch.load and weights_only=True, write the tensors with "
    "safetensors.torch.save_file"
)


class StartingWeights(Section):
    """A local file of weights. A model that Assay trained fits a network of the same kind and size."""

    path: str = Field(min_length=1)
    """Safetensors file; relative paths are relative to the working directory. Its content is part of the result's
    fingerprint."""
    exclude: tuple[str, ...] = ()
    """Tensors that start from chance all the same, as names or patterns with ``*``, such as ``head.*``."""
    allow_missing: bool = False
    """Let tensors that the file lacks start from chance."""
    allow_unexpected: bool = False
    """Ignore tensors of the file that the network does not have."""

    @property
    def file(self) -> Path:
        """The file as an absolute path."""
        return Path(self.path).expanduser().absolute()

    def digest(self) -> str:
        """Return the SHA-256 of the file's content; empty while there is no file."""
        try:
            status = self.file.stat()
            return _digest(self.file, status.st_size, status.st_mtime_ns)
        except OSError:
            return ""

    @field_validator("path", mode="after")
    @classmethod
    def _is_local_and_harmless(cls, path: str) -> Any:
        if "://" in path:
            raise ValueError(f"{path!r} is a web address; weights are never downloaded: give the path of a local file")
        if path.lower().endswith(PICKLES):
            raise ValueError(f"{path!r} may run code when it is read; {ADVICE}")
        return path


@lru_cache(64)
def _digest(path: Path, size_bytes: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


class Learner(Section):
    """Loss and optimizer."""

    loss: (
        Literal["cross_entropy", "binary_cross_entropy", "focal", "smooth_l1", "mse", "segmentation", "detection"]
        | None
    ) = None
    """What is made small; null: cross_entropy for classes, binary_cross_entropy for several at once, smooth_l1 for
    numbers; segmentation and detection have one of their own. focal, instead of the first two, counts items that are
    already right for less (Lin et al. 2017)."""
    focal_gamma: float = Field(default=2.0, ge=0, le=10)
    """How much less focal counts them; 0: not at all."""
    focal_alpha: float | None = Field(default=None, gt=0, lt=1)
    """Weight in focal of items that have a class, where 1 less this is that of items without it; null: both count the
    same. With data_description.multi_label only."""
    smooth_l1_beta: float = Field(default=0.5, gt=0)
    """Error from which on smooth_l1 grows linearly, in standard deviations of the training targets."""
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    """Probability spread evenly over all classes, against overconfidence; of several classes at once, over having each
    and not having it. Null: 0.05. Classification only."""
    class_weights: dict[str, float] | Literal["balanced"] | None = None
    """Weight of each class in the loss (1 for classes left out); ``balanced``: inverse to the class's frequency in the
    training data; of several classes at once, items with and without the class count the same. Multiplied by the weight
    that data_description.classes gives. Not for regression."""
    optimizer: Literal["muon", "adamw", "sgd"] | None = None
    """muon (Jordan et al. 2024), adamw, or sgd with Nesterov momentum; null: muon for segmentation and detection,
    adamw for all else."""
    learning_rate: float | None = Field(default=None, gt=0, le=100)
    """Largest step size; null: by network and optimizer."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """Momentum of muon and sgd, first beta of adamw; null: 0.8 for muon, 0.9 for the others."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Decoupled shrinking of the weights, as a fraction per unit of learning rate."""
    schedule: Literal["one_cycle", "cosine", "step", "constant"] = "one_cycle"
    """How the learning rate changes over the steps: one_cycle and cosine fall smoothly, step at milestones."""
    warmup: float | None = Field(default=None, ge=0, lt=1)
    """Share of the steps in which the learning rate rises to its largest value; null: 0.25 for one_cycle, 0 for
    constant, 0.05 for others."""
    milestones: tuple[Probability, ...] = (0.6, 0.85)
    """Shares of the steps after which the schedule step multiplies the learning rate by gamma."""
    gamma: float = Field(default=0.1, gt=0, lt=1)
    """What the schedule step multiplies the learning rate by."""
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """Moving average of the weights, which is what is evaluated and saved; 0 uses the weights themselves."""
    clip_norm: float | None = Field(default=5.0, gt=0)
    """Largest norm of the gradient; longer ones are shortened. Null: never."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """Parts in which each batch goes through the network, one after the other, where a whole batch needs more memory
    than there is. The gradient is that of the whole batch; batch normalization sees the parts."""
    freeze: tuple[str, ...] = ()
    """Layers that keep their starting weights, as names or patterns with ``*``; a group's name means all its layers."""


class EarlyStopping(Section):
    """End the training when the validation data say that it gets no better; the best epoch is kept."""

    patience: int = Field(ge=1)
    """Epochs without a better value of ``metric`` after which the training ends."""
    min_delta: float = Field(default=0.0, ge=0)
    """Improvements up to this size don't count, in the metric's unit."""


class TrainParams(Section):
    """How long to train, and which epoch to keep."""

    epochs: int | None = Field(default=None, ge=1, le=100_000)
    """Passes over the training data; null: by the kind of input: 20 for pictures of objects, 30 where they may have
    several classes."""
    least_steps: int | None = Field(default=None, ge=0)
    """Where few items make few steps, go on beyond ``epochs``, up to ten times as long, until there are so many; null:
    when ``epochs`` is left open, 300 for segmentation and detection and 700 for all else; otherwise 0."""
    steps_per_epoch: int | None = Field(default=None, ge=1)
    """Batches per epoch; null: as many whole ones as the subset has."""
    decision: Literal["fixed", "tuned"] | None = None
    """From which probability on an item is said to have a class: ``fixed``: 0.5; ``tuned``: for each class the one with
    the best F1 on the validation data. Null: fixed. With data_description.multi_label only."""
    early_stopping: EarlyStopping | None = None
    """When to end before the last epoch; null: never."""
    choose_epoch: Literal["best", "last"] = "best"
    """Keep the epoch that is best on the validation data, or the last one."""
    metric: Literal["loss", "accuracy", "mae", "rmse", "macro_f1", "mean_iou", "foreground_iou", "map50"] | None = None
    """What ``best`` means: the lowest loss, mae or rmse, or the highest of the others, of the validation data. Null:
    mean_iou for segmentation, map50 for detection, the loss for all else."""
    checkpoint_every_s: Annotated[float, Field(ge=0), PLACE_ONLY] = 30.0
    """Seconds between two checkpoints, from which a training that was killed goes on; more when writing one takes long,
    so that at most 1% of the time goes into them. 0: after every step, without that limit."""
    threads: int = Field(default=2, ge=1, le=256)
    """Threads of the arithmetic; another number rounds differently, so the same number gives the same weights."""
    processes: int = Field(default=1, ge=1, le=64)
    """Processes of this machine that share every batch, one per GPU where there are GPUs; each has its own copy of the
    data and as many threads. The result is that of one process with ``learner.accumulate`` as large, up to rounding."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the network computes; auto: on a GPU (cuda) when there is one."""
    compile: bool = False
    """Compile the network by torch.compile, which takes a minute or more and then saves up to half of each step."""
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """bf16 is up to twice as fast on processors with AVX512_BF16 or AMX and on newer GPUs, slow on others, and less
    exact; auto: bf16 where it is fast. What was used is written into the model's card. Null: auto for whole images,
    fp32 for all else."""

    @property
    def choosing_metric(self) -> str:
        """What chooses the epoch, once resolved."""
        return self.metric or "loss"

    @model_validator(mode="after")
    def _stopping_keeps_the_best(self) -> Self:
        if self.early_stopping is not None and self.choose_epoch == "last":
            raise ValueError("early_stopping keeps the best epoch, but choose_epoch is 'last'; leave one of them out")
        return self


class NetData(Section):
    """What the network really saw: the first training samples of some epochs, kept in net_data/ of the result."""

    samples: int = Field(default=16, ge=0, le=64)
    """Samples of each epoch's first batch; 0: none, and no files."""
    shown_epochs: int = Field(default=10, ge=2, le=100_000)
    """Epochs that are shown, at most: evenly spread, the first and the last among them."""


class ExpInitializer(Section):
    """What is written down about the code and the machine when the experiment's folder is made."""

    git_versions: Switch = True
    """Write git_versions.yaml: commit and dirty flag of Assay and of the project around it."""
    environment: Switch = True
    """Write environment.yaml: Python, packages and hardware."""


class TrainedModelSection(Section):
    """Model and training."""

    data_description: DataDescription = DataDescription()
    """Inputs, target and classes."""
    data_train: TrainingData = TrainingData()
    """The data that the network learns from."""
    data_validation: ValidationData | None = ValidationData()
    """The data that choose the epoch; null only with ``train_params.choose_epoch: last``."""
    model: AnyModel | None = None
    """The network; null: cnn for images, mlp for rows."""
    starting_weights: StartingWeights | None = None
    """First weights, from a local file; null: from chance."""
    learner: Learner = Learner()
    """Loss and optimizer."""
    train_params: TrainParams = TrainParams()
    """How long, and which epoch to keep."""
    net_data: NetData = NetData()
    """Pictures, or rows, of what the network really saw."""
    exp_initializer: Annotated[ExpInitializer, PLACE_ONLY] = ExpInitializer()
    """What is written down about code and machine."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of weights, order and augmentation; null takes the experiment's."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Train again even when a complete result exists; the old one stays until the new one is complete."""

    @model_validator(mode="after")
    def _subsets_differ(self) -> Self:
        validation = self.data_validation
        if validation is not None and validation.subset == self.data_train.subset:
            raise ValueError(
                f"data_train.subset and data_validation.subset are both {validation.subset!r}: "
                "data that were learned can't choose the epoch"
            )
        if validation is None and self.train_params.choose_epoch == "best":
            raise ValueError(
                "data_validation is null, but train_params.choose_epoch is 'best'; "
                "name a subset or set train_params.choose_epoch: last"
            )
        return self

    @model_validator(mode="after")
    def _model_reads_the_input(self) -> Self:
        description = self.data_description
        if self.model is not None and "columns" not in self.model.reads and description.input == "normalized":
            raise ValueError(
                f"model.kind {self.model.kind!r} reads images, but data_description.input is 'normalized'; "
                "use model.kind: mlp or data_description.input: crops"
            )
        if description.inputs is not None and description.input in ("crops", "splits"):
            raise ValueError(
                f"data_description.inputs names columns, but data_description.input is {description.input!r}; "
                "leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _class_weights_fit(self) -> Self:
        names, weights = self.data_description.class_names, self.learner.class_weights
        if not isinstance(weights, dict):
            return self
        if bad := sorted(name for name, weight in weights.items() if weight < 0):
            raise ValueError(f"learner.class_weights: negative for {', '.join(bad)}")
        if names and (wrong := sorted(set(weights) - set(names))):
            hint = did_you_mean(wrong[0], names)
            raise ValueError(f"learner.class_weights names {', '.join(wrong)}, not in data_description.classes{hint}")
        if names and not any(weights.get(name, 1.0) for name in names):
            raise ValueError("learner.class_weights: every class has weight 0; there is nothing to learn")
        return self

    @model_validator(mode="after")
    def _thresholds_are_chosen_on_validation_data(self) -> Self:
        if self.train_params.decision == "tuned" and self.data_validation is None:
            raise ValueError("train_params.decision is 'tuned', but data_validation is null; name a subset")
        return self
