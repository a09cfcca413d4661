"""How long-running domain code tells how far it is, without knowing who listens."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""``progress(done, total, note)``; ``note`` is a short text such as ``"loss 0.31"`` or empty."""


def silent(done: int, total: int, note: str = "") -> None:
    """Tell nobody."""
