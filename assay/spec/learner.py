"""Keys ``trained_model.learner``: the loss, and the optimizer that makes it small.

Belongs here: keys and rules on their values. Does not belong here: defaults that depend on the task
(``assay.spec.training_defaults``); wherever one does, the key's default here is null.
"""

from typing import Literal

from pydantic import Field

from assay.spec.base import Probability, Section


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
