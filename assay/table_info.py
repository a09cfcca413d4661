"""Which columns of a table are features and which is the target, written beside the table.

Belongs here: that small file. Does not belong here: the table.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from assay.errors import StorageError
from assay.files import write_json

TABLE_INFO_FILE = "table.json"


@dataclass(frozen=True)
class TableInfo:
    """The roles of a table's columns.

    Attributes:
        target_column: Column to predict.
        features: Columns to predict from, in the table's order.
    """

    target_column: str
    features: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the roles into the table's folder."""
        write_json(folder / TABLE_INFO_FILE, asdict(self))


def read_table_info(folder: Path) -> TableInfo:
    """Read the roles from a table's folder.

    Raises:
        StorageError: They are missing or damaged.
    """
    path = folder / TABLE_INFO_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return TableInfo(str(content["target_column"]), tuple(content["features"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{path} can't be read: {error!r}. Materialize the table's stage again.") from error
