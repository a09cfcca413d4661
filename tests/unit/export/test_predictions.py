"""What every export requires of the user's classes and of the folder that is written."""

import pytest

from assay.errors import DataError
from assay.export.predictions import require_empty


def test_a_folder_that_holds_files_is_refused(tmp_path):
    require_empty(tmp_path / "new")
    require_empty(tmp_path)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(DataError, match="is not an empty folder; choose another for --to"):
        require_empty(tmp_path)
