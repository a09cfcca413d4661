"""What every test shares: property tests are repeatable, and have no deadline on a busy machine."""

from hypothesis import settings

settings.register_profile("assay", deadline=None, derandomize=True)
settings.load_profile("assay")
