"""Keys ``trained_model.data_description``: which columns or images are the inputs, what is the target.

Belongs here: keys and rules on their values. Does not belong here: defaults that depend on the task
(``assay.spec.training_defaults``); wherever one does, the key's default here is null.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from assay.spec.base import Section
from assay.spec.classes import ClassDescription, check_classes

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
