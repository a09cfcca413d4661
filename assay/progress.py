"""How long-running domain code tells how far it is, without knowing who listens."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

NO_VALUES: Mapping[str, float] = MappingProxyType({})


class Progress(Protocol):
    """Whoever wants to know how far something is; called as often as the code likes."""

    def __call__(self, done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES, /) -> None:
        """Hear how far it is.

        Args:
            done: Of ``total``.
            total: Whatever is counted.
            note: Short text for people, such as ``"loss 0.31"``; may be empty.
            values: Numbers worth drawing over time, by name, such as ``loss`` or ``items_per_s``; may be empty.
        """


def silent(done: int, total: int, note: str = "", values: Mapping[str, float] = NO_VALUES) -> None:
    """Tell nobody."""
