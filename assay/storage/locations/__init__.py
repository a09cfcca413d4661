"""Named locations of experiments besides the storage itself: folders, network drives, object stores."""
