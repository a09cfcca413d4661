"""A storage with one experiment, and two further locations."""

import pytest

from tests.helpers.small_storage import lab, pattern  # noqa: F401 - fixtures
from tests.helpers.stored_experiments import make_locations


@pytest.fixture
def locations(tmp_path):
    """The storage with the experiment ab12, and the locations ``archive`` and ``attic``."""
    return make_locations(tmp_path)
