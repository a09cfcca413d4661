"""Keys ``trained_model.train_params``, ``net_data`` and ``exp_initializer``: how long, on what, and what is kept of it.

Belongs here: keys and rules on their values. Does not belong here: defaults that depend on the task
(``assay.spec.training_defaults``); wherever one does, the key's default here is null.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import PLACE_ONLY, Section, Switch


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
