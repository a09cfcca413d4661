"""The form of one figure in the tables of results."""

from typing import Any


def row(
    benchmark: str, value: float, target: float | None = None, note: str = "", floor: float | None = None
) -> dict[str, Any]:
    """Return a figure in seconds beside what is wanted and the least that the machine allows."""
    return {"benchmark": benchmark, "value": value, "unit": "s", "target": target, "floor": floor, "note": note}
