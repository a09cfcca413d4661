"""A storage with one experiment, and two further locations."""

from tests.unit.storage.locations.conftest import places

__all__ = ["places"]
