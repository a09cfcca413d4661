"""Boxes around objects, in whole pixels.

Belongs here: what a box means, and how it maps to Pillow's boxes. Does not belong here: what is inside.
"""

from typing import NamedTuple, Self

from PIL import Image


class Box(NamedTuple):
    """Pixels ``x_px … x_px + width_px - 1`` by ``y_px … y_px + height_px - 1``, both ends included."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int

    @classmethod
    def from_edges(cls, left: int, top: int, right: int, bottom: int) -> Self:
        """Return the box between Pillow's edges, of which ``right`` and ``bottom`` are exclusive."""
        return cls(left, top, right - left, bottom - top)

    @classmethod
    def around(cls, mask: Image.Image) -> Self | None:
        """Return the smallest box around all pixels that are not 0, or None when there are none."""
        edges = mask.getbbox()
        return None if edges is None else cls.from_edges(*edges)

    @property
    def edges(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom as Pillow's ``crop`` takes them: the last two are exclusive."""
        return self.x_px, self.y_px, self.x_px + self.width_px, self.y_px + self.height_px

    def shifted(self, right: int, down: int) -> Self:
        """Return the box moved by ``right`` and ``down`` pixels."""
        return self._replace(x_px=self.x_px + right, y_px=self.y_px + down)

    def overlaps(self, other: "Box", gap: int = 0) -> bool:
        """Return whether the boxes share a pixel, or come closer than ``gap`` pixels."""
        left, top, right, bottom = self.edges
        other_left, other_top, other_right, other_bottom = other.edges
        return (
            left < other_right + gap
            and other_left < right + gap
            and top < other_bottom + gap
            and other_top < bottom + gap
        )
