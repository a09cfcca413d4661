"""Named locations of experiments besides the storage itself: folders, network drives, object stores."""

from assay.storage.locations.config import Location, Locations

__all__ = ["Location", "Locations"]
