"""Parts of the section ``trained_model``: what is learned from which data, by which optimizer, for how long.

Belongs here: keys and rules on their values. Does not belong here: defaults that depend on the task
(``assay.spec.training_defaults``); wherever one does, the key's default here is null.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import PLACE_ONLY, Probability, Section, Switch
from assay.spec.class_description import ClassDescription, check_classes

Input = Literal["splits", "crops", "normalized"]


class DataDescription(Section):
    """Which columns or images are the inputs, what is the target, and which classes there are."""

    input: Input | None = None
    """Learn from whole images (``splits``), from pictures of single objects (``crops``) or from rows of the table
    (``normalized``); null: whole images for segmentation and detection, pictures for classification, rows for
    regression and tables."""
    inputs: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Input columns, as names or patterns with ``*``; null: all pixels, or all columns but the target. Tables only."""
    target: str | None = Field(default=None, min_length=1)
    """Column that is learned; null: the number, or the class, that the data carry."""
    classes: tuple[ClassDescription, ...] | None = Field(default=None, min_length=1)
    """Classes in the order of the outputs, as names or as ``{name: even, subclasses: ["0", "2"], weight: 2.0}``; null:
    the labels of the training rows, sorted."""
    multi_label: bool = False
    """Whether an item may have several classes at once, or none. Classification only."""
    label_separator: str | None = Field(default=None, min_length=1, max_length=8)
    """Text between the labels of an item, such as ``|`` in ``cat|outdoor``; null: an item has one label. With
    multi_label only."""
    labels_of_no_class: tuple[str, ...] = ()
    """Labels of items that belong to none of the classes, such as ``["nothing"]``; any other label without a class is
    an error. With multi_label only."""
    class_mapping: dict[str, str] = {}
    """Class of each label, such as ``{"0": small, "1": small, "2": large}``; empty: every label is its own class. With
    multi_label, list labels as subclasses instead."""
    image_size: int | None = Field(default=None, ge=4, le=8192)
    """Side in pixels that pictures of objects are brought to, with a border where they are not square; null: 24, or 16
    for pictures that are no larger than that. Of whole images, the longest side to which larger ones are reduced; null:
    so that the median object has about 48 pixels."""
    window_size: int | None = Field(default=None, ge=32, le=4096, multiple_of=16)
    """Side in pixels of the squares, mostly around objects, that are cut out of whole images to learn from; null: 64
    for segmentation, 96 for detection, and for nothing else."""
    standardize: bool | None = None
    """Give each image or row of pixels mean 0 and standard deviation 1, so that brightness and contrast do not matter;
    null: yes for images and pixels, no for other columns, which have units of their own."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; empty when the data tell them."""
        return tuple(each.name for each in self.classes or ())

    @model_validator(mode="after")
    def _classes_fit(self) -> Self:
        check_classes(self.classes or (), exclusive=not self.multi_label)
        if len(self.class_names) == 1 and not self.multi_label:
            raise ValueError(f"classes has only {self.class_names[0]!r}; expected two or more, or multi_label: true")
        return self

    @model_validator(mode="after")
    def _labels_have_one_meaning(self) -> Self:
        without_effect = [key for key in ("label_separator", "labels_of_no_class") if getattr(self, key)]
        if without_effect and not self.multi_label:
            raise ValueError(f"{without_effect[0]} has no effect without multi_label: true; leave one of them out")
        if self.class_mapping and self.multi_label:
            raise ValueError(
                "class_mapping gives a label one class, but multi_label is true; list labels as subclasses of classes"
            )
        if self.class_mapping and any(each.subclasses for each in self.classes or ()):
            raise ValueError("class_mapping and subclasses both say which labels a class has; give one of them")
        wrong = sorted(set(self.class_mapping.values()) - set(self.class_names))
        if self.classes and wrong:
            raise ValueError(f"class_mapping maps to {', '.join(wrong)}, not in classes")
        return self


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
    """See every class equally often, items of rare classes several times in an epoch; null: every item once. Not for
    regression."""
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
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """adamw, or sgd with Nesterov momentum."""
    learning_rate: float | None = Field(default=None, gt=0, le=100)
    """Largest step size; null: by network and optimizer."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd, first beta of adamw."""
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
    700 when ``epochs`` is left open, otherwise 0."""
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


class ExpInitializer(Section):
    """What is written down about the code and the machine when the experiment's folder is made."""

    git_versions: Switch = True
    """Write git_versions.yaml: commit and dirty flag of Assay and of the project around it."""
    environment: Switch = True
    """Write environment.yaml: Python, packages and hardware."""
