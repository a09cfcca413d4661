"""Section ``trained_model.starting_weights``: where a network's first weights come from, when not from chance."""

from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from assay.spec.base import Section

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".h5", ".hdf5", ".keras")
ADVICE = (
    "convert it once, where you trust it: read it with torch.load and weights_only=True, write the tensors with "
    "safetensors.torch.save_file"
)


class StartingWeights(Section):
    """A local file of weights. A model that Assay trained fits a network of the same kind and size."""

    path: str = Field(min_length=1)
    """Safetensors file; relative paths are relative to the working directory. Its content is part of the result's
    fingerprint."""
    exclude: tuple[str, ...] = ()
    """Tensors that start from chance all the same, as names or patterns with ``*``, such as ``head.*``."""
    allow_missing: bool = False
    """Let tensors that the file lacks start from chance."""
    allow_unexpected: bool = False
    """Ignore tensors of the file that the network does not have."""

    @property
    def file(self) -> Path:
        """The file as an absolute path."""
        return Path(self.path).expanduser().absolute()

    def digest(self) -> str:
        """Return the SHA-256 of the file's content; empty while there is no file."""
        try:
            status = self.file.stat()
            return _digest(self.file, status.st_size, status.st_mtime_ns)
        except OSError:
            return ""

    @field_validator("path", mode="after")
    @classmethod
    def _is_local_and_harmless(cls, path: str) -> Any:
        if "://" in path:
            raise ValueError(f"{path!r} is a web address; weights are never downloaded: give the path of a local file")
        if path.lower().endswith(PICKLES):
            raise ValueError(f"{path!r} may run code when it is read; {ADVICE}")
        return path


@lru_cache(64)
def _digest(path: Path, size_bytes: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
