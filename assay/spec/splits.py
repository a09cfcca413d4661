"""Section ``splits``: the subsets that the data are divided into, and which items stay together."""

from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, model_validator

from assay.spec.base import ADDED, Location, Section, Switch, repeated

TRAIN, VALIDATION, TEST = "train", "validation", "test"
"""Names of the standard subsets."""
MASK_FOLDER = "masks"
"""Folder for masks, beside the folders of the subsets."""

SubFolder = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]{0,62}(/[A-Za-z0-9][A-Za-z0-9_.-]{0,62})*)?$")]
"""A relative folder such as ``images`` or ``a/b``; empty for none."""


MOST_FOLDS = 1000


class SetInfo(Section):
    """One subset and its share of the items."""

    set_name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")
    """Name of the subset: lower-case letters, digits and underscores."""
    probability: float = Field(gt=0.0, le=1.0)
    """Fraction of the items, from 0 to 1; it is an exact quota, not a probability per item."""


STANDARD_SETS = (
    SetInfo(set_name=TRAIN, probability=0.7),
    SetInfo(set_name=VALIDATION, probability=0.1),
    SetInfo(set_name=TEST, probability=0.2),
)


class SplitsSection(Section):
    """Divides the items into subsets, always in the same way, whatever the order of the files."""

    set_infos: tuple[SetInfo, ...] = Field(default=STANDARD_SETS, min_length=1)
    """The subsets with their fractions, which sum to 1; one of them is ``train``, unless a model is only evaluated."""
    name_delimiter: str | None = Field(default=None, min_length=1, max_length=8)
    """Separator of the parts of a file name; files that share the first ``max_split`` parts form a group, which stays
    in one subset. Null: no groups."""
    max_split: int | None = Field(default=None, ge=1, le=100)
    """Number of leading parts of the name that form the group: with ``_`` and 2, scan_a_1.png and scan_a_2.png are both
    in group ``scan_a``. Null: 1 if ``name_delimiter`` is given."""
    group_key: str | None = Field(default=None, min_length=1)
    """Column of the item table with groups that stay in one subset, such as ``background`` or ``folder``."""
    stratify: bool = False
    """Give every class the same fractions, each exact to less than one item."""
    use_given_subsets: bool = True
    """Keep the subsets that the data come with; missing ones are taken from their train part. False: divide again."""
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    """Seed of the division; null uses the experiment's."""
    recursive: bool = True
    """Include files in subfolders of the class folders; false leaves them out."""
    folds: Annotated[int | None, ADDED, Field(ge=2, le=MOST_FOLDS)] = None
    """Cross-validation: divide the items into so many folds of equal size, one of which is ``test``; the other subsets
    share the rest in proportion to their fractions. Null: no folds."""
    fold: Annotated[int | None, ADDED, Field(ge=0, lt=MOST_FOLDS)] = None
    """Which fold is ``test``, from 0 to ``folds`` - 1; null: 0. ``assay sweep BASE --folds 5`` writes one experiment
    per fold, and ``assay compare`` shows their mean and spread."""
    leave_out: Annotated[tuple[str, ...], ADDED] = ()
    """Items that are in no subset, such as images whose label is wrong, by the names that ``assay impact`` and the
    tables of the analysis show; all others stay in their subsets."""
    sub_dir: SubFolder = ""
    """Folder for the linked files, below each subset's folder."""
    output_location: Location = "data"
    """Folder below the storage root."""
    clear_folder: Switch = False
    """Build again even if a complete result exists, which is kept until the new one is complete."""

    @property
    def set_names(self) -> tuple[str, ...]:
        """Names of the subsets in the order of the spec."""
        return tuple(info.set_name for info in self.set_infos)

    @model_validator(mode="after")
    def _sets_are_a_division(self) -> Self:
        names = self.set_names
        if len(set(names)) < len(names):
            twice = repeated(names)
            raise ValueError(f"set_infos: set_name {', '.join(twice)} is given twice; every subset has its own name")
        if MASK_FOLDER in names:
            raise ValueError(f"set_infos: got set_name {MASK_FOLDER!r}, the folder of all masks; choose another name")
        total = float(sum(Fraction(str(info.probability)) for info in self.set_infos))
        if abs(total - 1) > 1e-6:
            parts = " + ".join(f"{info.probability:g}" for info in self.set_infos)
            raise ValueError(f"set_infos: the values of probability sum to {total:g} ({parts}); expected 1")
        return self

    @model_validator(mode="after")
    def _folds_leave_something_to_learn_from(self) -> Self:
        if self.folds is None:
            if self.fold is not None:
                raise ValueError(f"fold is {self.fold}, but there are no folds; give their number as folds")
            return self
        if TEST not in self.set_names or len(self.set_names) < 2:
            names = ", ".join(self.set_names)
            raise ValueError(
                f"folds: one fold is the subset {TEST!r} and the others are the rest, but set_infos makes only "
                f"{names}; expected {TEST!r} and another set_name"
            )
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but there are {self.folds} folds; expected 0 to {self.folds - 1}")
        return self

    @model_validator(mode="after")
    def _leaves_out_each_item_once(self) -> Self:
        if twice := repeated(self.leave_out):
            raise ValueError(f"leave_out: {', '.join(twice)} is given twice")
        return self

    @model_validator(mode="after")
    def _one_kind_of_group(self) -> Self:
        if self.max_split is not None and self.name_delimiter is None:
            raise ValueError("max_split has no effect without name_delimiter; give both or leave max_split out")
        if self.group_key is not None and self.name_delimiter is not None:
            raise ValueError("group_key and name_delimiter both say what stays together; give one of them")
        return self
