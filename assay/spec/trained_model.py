"""Section ``trained_model``: the training data, the network, and how it is trained.

Where a default depends on the task or the input, the key's default here is null, and ``defaults`` fills it in from the
numbers of ``recipes``.

Belongs here: these keys, rules on their values. Does not belong here: inputs, target and classes (``classes``), kinds
of networks (``models``), defaults that depend on the task.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import ADDED, MOST_STEPS, PLACE_ONLY, Location, Probability, RemovedKeys, Section, Switch
from assay.spec.classes import DataDescription, did_you_mean
from assay.spec.extensions import OrPlugin
from assay.spec.models import AnyModel
from assay.spec.plugins import LEARNERS
from assay.spec.weights import StartingWeights


class Augmentation(Section):
    """Random changes of the training batches, never of validation or test data. Null: by the kind of input; 0: none."""

    rotation_degrees: float | None = Field(default=None, ge=0, le=180)
    """Largest rotation angle in either direction. Images and pixels only."""
    zoom: float | None = Field(default=None, ge=0, le=1)
    """Largest enlargement or reduction, as a fraction of the size. Images and pixels only."""
    shift: float | None = Field(default=None, ge=0, le=1)
    """Largest shift in each direction, as a fraction of the size. Images and pixels only."""
    invert_probability: Probability | None = None
    """Probability of inverting the brightness of an item. Images and pixels only."""
    colour_shift: float | None = Field(default=None, ge=0, le=10)
    """Largest shift of each colour channel, in standard deviations of the image. Images only."""
    contrast: float | None = Field(default=None, ge=0, le=2)
    """Largest change of contrast, as a fraction. Images only."""
    noise: float | None = Field(default=None, ge=0, le=10)
    """Standard deviation of the noise added to every value, in the unit of the values after standardization."""


class TrainingData(Section):
    """The training data and their batches."""

    subset: str = Field(default="train", min_length=1)
    """Name of the subset."""
    batch_size: int | None = Field(default=None, ge=2, le=65_536)
    """Number of items per step, or fewer if the subset is smaller. Null: by the kind of input."""
    balance: Literal["classes"] | None = None
    """``classes``: sample every class equally often: items of rare classes several times per epoch, whole images by
    windows around objects of such classes. Null: every item once. Not for regression."""
    shuffle: bool = True
    """Shuffle the items in every epoch; false keeps the order of the table."""
    augmentation: Augmentation = Augmentation()
    """Random changes of every batch."""


class ValidationData(Section):
    """The data on which the epoch is chosen."""

    subset: str = Field(default="validation", min_length=1)
    """Name of the subset."""
    batch_size: int = Field(default=512, ge=1, le=65_536)
    """Number of items evaluated at once; it does not affect results beyond rounding."""


class Learner(Section):
    """Loss function and optimizer."""

    loss: (
        Literal["cross_entropy", "binary_cross_entropy", "focal", "smooth_l1", "mse", "segmentation", "detection"]
        | None
    ) = None
    """Loss function; null: cross_entropy for single-label classification, binary_cross_entropy for multi-label,
    smooth_l1 for regression; segmentation and detection have their own. focal (Lin et al. 2017) replaces either
    cross-entropy and gives less weight to items that are predicted well."""
    focal_gamma: float = Field(default=2.0, ge=0, le=10)
    """Focusing parameter of the focal loss; 0 weights all items equally."""
    focal_alpha: float | None = Field(default=None, gt=0, lt=1)
    """Weight in the focal loss of items with a class; those without it get 1 minus this weight. Null: equal weights.
    With data_description.multi_label only."""
    smooth_l1_beta: float = Field(default=0.5, gt=0)
    """Error above which smooth_l1 is linear, in standard deviations of the training targets."""
    label_smoothing: float | None = Field(default=None, ge=0, lt=1)
    """Label smoothing: probability distributed evenly over all classes; with several labels per item, over having and
    not having each class. Null: 0.05. Classification only."""
    class_weights: dict[str, float] | Literal["balanced"] | None = None
    """Weight of each class in the loss (1 for classes that are left out); ``balanced``: inversely proportional to the
    class's frequency in the training data; with several labels per item, items with and without a class get equal
    total weights. Multiplied by the weights in data_description.classes. Not for regression."""
    optimizer: Literal["muon", "adamw", "sgd"] | None = None
    """muon (Jordan et al. 2024), adamw, or sgd with Nesterov momentum; null: muon for segmentation and detection,
    adamw for all other tasks."""
    learning_rate: float | None = Field(default=None, gt=0, le=100)
    """Peak learning rate; null: by network and optimizer."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """Momentum of muon and sgd, or beta1 of adamw; null: 0.8 for muon, 0.9 for the others."""
    weight_decay: float = Field(default=0.02, ge=0)
    """Decoupled weight decay, as a fraction of the weights per unit of learning rate."""
    schedule: Literal["one_cycle", "cosine", "step", "constant"] = "one_cycle"
    """Learning rate schedule: one_cycle and cosine decay smoothly, step decays at milestones."""
    warmup: float | None = Field(default=None, ge=0, lt=1)
    """Fraction of the steps in which the learning rate rises to its peak; null: 0.25 for one_cycle, 0 for constant,
    0.05 for the others."""
    milestones: tuple[Probability, ...] = (0.6, 0.85)
    """Fractions of the steps after which the schedule step multiplies the learning rate by gamma."""
    gamma: float = Field(default=0.1, gt=0, lt=1)
    """Factor by which the schedule step multiplies the learning rate."""
    ema_decay: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the exponential moving average of the weights, which is evaluated and saved; 0 uses the weights."""
    clip_norm: float | None = Field(default=5.0, gt=0)
    """Largest norm of the gradient; larger gradients are clipped. Null: no clipping."""
    accumulate: int = Field(default=1, ge=1, le=1024)
    """Gradient accumulation: number of parts in which each batch goes through the network, to save memory. The gradient
    is that of the whole batch; batch normalization sees the parts."""
    freeze: tuple[str, ...] = ()
    """Layers with frozen weights, as names or patterns with ``*``; a group's name means all its layers."""


class LearnerKind:
    """A learner registered by an installed package: a section with its own keys, and what it does otherwise.

    Attributes:
        section: Subclass of ``Learner`` with a ``kind``; its module should not import torch.
        loss: Import path ``package.module:function``, called as ``function(learner, target)`` with the target of the
            model's card; returns ``loss(outputs, targets)``, a differentiable mean over the batch. Empty: the key
            ``loss``.
        optimizer: Import path of a function, called as ``function(learner, parameters)``, which returns an
            ``assay.training.optimizers.Optimizer``. Empty: the key ``optimizer``.
    """

    def __init__(self, section: type[Learner], loss: str = "", optimizer: str = "") -> None:
        self.section = section
        self.loss = loss
        self.optimizer = optimizer


AnyLearner = Annotated[Learner, OrPlugin(LEARNERS, LearnerKind, Learner)]
"""The built-in losses and optimizers, or those that an installed package adds."""


class EarlyStopping(Section):
    """Stop the training when the validation metric no longer improves; the best epoch is kept."""

    patience: int = Field(ge=1, le=MOST_STEPS)
    """Number of epochs without an improvement of ``metric`` after which the training stops."""
    min_delta: float = Field(default=0.0, ge=0)
    """Smaller changes do not count as an improvement, in the metric's unit."""


class TrainParams(Section):
    """The length of the training, the epoch to keep, and the hardware to use."""

    epochs: int | None = Field(default=None, ge=1, le=100_000)
    """Number of passes over the training data; null: by the kind of input, such as 20 for crops, or 30 for crops with
    several labels."""
    least_steps: int | None = Field(default=None, ge=0, le=MOST_STEPS)
    """Least number of steps: with few items, training continues beyond ``epochs``, up to ten times as long. Null: if
    ``epochs`` is null, 300 for segmentation and detection and 700 for all other tasks; else 0."""
    steps_per_epoch: int | None = Field(default=None, ge=1, le=MOST_STEPS)
    """Number of batches per epoch; null: as many complete ones as the subset has."""
    decision: Literal["fixed", "tuned"] | None = None
    """When an item has a class: ``fixed``: from a probability of 0.5 with several labels, else if no class is likelier;
    ``tuned``: from the probability with the best F1 of the class on the validation data, which finds rare classes: with
    data_description.multi_label for each class, and for the rarer one of two classes. Null: fixed."""
    calibration: Annotated[Literal["temperature"] | None, ADDED] = None
    """``temperature``: the network's outputs are divided by one number before they become probabilities, so that
    confidences on the validation data are as high as the share of right answers. Null: they stay as they are."""
    early_stopping: EarlyStopping | None = None
    """When to stop before the last epoch; null: never."""
    stop_after: Annotated[int | None, ADDED, Field(ge=1, le=100_000)] = None
    """End the training after this epoch of those that it is planned for: learning rates are as if it went on, and with
    a later end, or without, it goes on where it ended. ``assay tune`` so ends trials that are pruned. Null: at its
    end."""
    choose_epoch: Literal["best", "last"] = "best"
    """Keep the weights of the epoch that is best on the validation data, or of the last one."""
    metric: Literal["loss", "accuracy", "mae", "rmse", "macro_f1", "mean_iou", "foreground_iou", "map50"] | None = None
    """Validation metric that determines the best epoch: the lowest loss, mae or rmse, or the highest value of the
    others. Null: mean_iou for segmentation, map50 for detection, the loss for all other tasks."""
    checkpoint_every_s: Annotated[float, Field(ge=0), PLACE_ONLY] = 30.0
    """Seconds between checkpoints, from which a killed training resumes; the interval is longer if writing takes more
    than 1% of the time. 0: after every step, without that limit."""
    threads: int = Field(default=2, ge=1, le=256)
    """Number of CPU threads; another number rounds differently, so equal numbers give equal weights."""
    processes: int = Field(default=1, ge=1, le=64)
    """Number of processes on this machine that share every batch, one per GPU if there are GPUs; each has its own copy
    of the data and its own threads. Up to rounding, the result is that of one process with an equal
    ``learner.accumulate``."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the network; auto: a GPU (cuda) if there is one."""
    memory_gb: Annotated[float | None, Field(gt=0, le=100_000), PLACE_ONLY] = None
    """Main memory in GB that a run reserves on a cluster (profiles ray and kubernetes); null: none is reserved."""
    compile: bool = False
    """Compile the network with torch.compile, which takes a minute or more and saves up to half of each step's time."""
    precision: Literal["fp32", "bf16", "auto"] | None = None
    """bf16 is up to twice as fast on processors with AVX512_BF16 or AMX and on newer GPUs, slow on others, and less
    precise; auto: bf16 where it is fast. The model card records the precision that was used. Null: auto for whole
    images, fp32 for all other inputs."""

    @property
    def choosing_metric(self) -> str:
        """The metric that chooses the epoch, once resolved."""
        return self.metric or "loss"

    @model_validator(mode="after")
    def _stopping_keeps_the_best(self) -> Self:
        if self.early_stopping is not None and self.choose_epoch == "last":
            raise ValueError("early_stopping keeps the best epoch, but choose_epoch is 'last'; leave one of them out")
        return self


class NetData(Section):
    """Samples of the network's actual inputs: the first training samples of some epochs, stored in net_data/."""

    samples: int = Field(default=16, ge=0, le=64)
    """Number of samples from each epoch's first batch; 0: none, and no files."""
    shown_epochs: int = Field(default=10, ge=2, le=100_000)
    """Largest number of epochs with samples; they are evenly spaced and include the first and the last."""


class ExpInitializer(Section):
    """Information about code and machine that is saved when the experiment's folder is created."""

    git_versions: Switch = True
    """Write git_versions.yaml: commit and dirty flag of Assay and of the surrounding project."""
    environment: Switch = True
    """Write environment.yaml: versions of Python and packages, and hardware."""


class TrainedModelSection(Section):
    """Model and training."""

    data_description: DataDescription = DataDescription()
    """Inputs, target and classes."""
    data_train: TrainingData = TrainingData()
    """The training data."""
    data_validation: ValidationData | None = ValidationData()
    """The data on which the epoch is chosen; null only with ``train_params.choose_epoch: last``."""
    model: AnyModel | None = None
    """The network; null: unet for segmentation, detector for detection, cnn for crops, mlp for rows of pixels, and for
    a table auto, or mlp where a key is set that only a training in steps reads."""
    starting_weights: StartingWeights | None = None
    """Initial weights from a local file; null: random."""
    learner: AnyLearner = Learner()
    """Loss function and optimizer."""
    train_params: TrainParams = TrainParams()
    """Length of the training, and the epoch to keep."""
    net_data: NetData = NetData()
    """Samples of the network's actual inputs."""
    exp_initializer: Annotated[ExpInitializer, PLACE_ONLY] = ExpInitializer()
    """Information about code and machine."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of weights, order and augmentation; null uses the experiment's."""
    remove_key_list: RemovedKeys = None
    """Keys to remove, at any depth, from this section's saved configuration; null: those of the experiment's
    ``remove_key_list``."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Train again even if a complete result exists, which is kept until the new one is complete."""

    @property
    def weighs_classes(self) -> bool:
        """Whether classes have different weights in the loss."""
        described = self.data_description.classes or ()
        return self.learner.class_weights is not None or any(each.weight != 1 for each in described)

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
        if self.train_params.calibration and self.data_validation is None:
            raise ValueError("train_params.calibration is set, but data_validation is null; name a subset")
        return self
