"""Named places where experiments are kept besides the storage: folders, network drives, object stores."""

from assay.storage.locations.config import Location, Locations

__all__ = ["Location", "Locations"]
