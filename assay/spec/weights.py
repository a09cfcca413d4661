"""Files of weights that a spec names: starting weights, and networks that others have trained.

Their content is part of what identifies a result, so that other weights in the same place make it anew. Nothing is ever
downloaded, and nothing is read that may run code.

Belongs here: the key ``starting_weights``, where named weights are, digests of files. Does not belong here: reading the
tensors (``assay.training.model_file``, ``assay.training.models.pretrained``).
"""

import re
import stat
from functools import lru_cache
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from pydantic import field_validator

from assay.errors import FileError
from assay.spec.base import Section, UserPath
from assay.utils.reading import user_path

PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".h5", ".hdf5", ".keras")
"""Extensions of formats that may run code when they are read."""

ADVICE = (
    "convert it once, where you trust it: read it with torch.load and weights_only=True, write the tensors with "
    "safetensors.torch.save_file"
)


MOST_BYTES_OF_WEIGHTS = 2**37
"""Larger than any model that one machine trains: 128 GiB."""


class StartingWeights(Section):
    """A local file of weights. A model trained by Assay fits a network of the same kind and size."""

    path: UserPath
    """Path of a safetensors file, relative to the working directory. Its content is part of the result's
    fingerprint."""
    exclude: tuple[str, ...] = ()
    """Tensors to initialize randomly instead, as names or patterns with ``*``, such as ``head.*``."""
    allow_missing: bool = False
    """Initialize tensors that the file lacks randomly; false: an error."""
    allow_unexpected: bool = False
    """Ignore tensors in the file that the network does not have; false: an error."""

    @property
    def file(self) -> Path:
        """The file as an absolute path."""
        return user_path(self.path).absolute()

    def digest(self) -> str:
        """Return the SHA-256 of the file's content; empty if it is no regular file, or can't be read.

        Raises:
            FileError: It is larger than any file of weights.
        """
        return _digest_of(self.file, self.path)

    @field_validator("path", mode="after")
    @classmethod
    def _is_local_and_harmless(cls, path: str) -> Any:
        return require_local(path, "the path of a local file")


def require_local(path: str, wanted: str) -> str:
    """Return a path that is no web address and not of a format that may run code.

    Raises:
        ValueError: It is.
    """
    if "://" in path:
        raise ValueError(f"{path!r} is a web address; weights are never downloaded: give {wanted}")
    if path.lower().endswith(PICKLES):
        raise ValueError(f"{path!r} may run code when it is read; {ADVICE}")
    return path


def _digest_of(file: Path, shown: str) -> str:
    """Return the SHA-256 of a file's content, see ``StartingWeights.digest``; ``shown`` names it in messages."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            return ""
        if status.st_size > (most := MOST_BYTES_OF_WEIGHTS):
            raise FileError(shown, f"holds {status.st_size:,} bytes; expected at most {most:,}")
        return _digest(file, status.st_size, status.st_mtime_ns)
    except OSError:
        return ""


@lru_cache(64)
def _digest(path: Path, size_bytes: int, changed_ns: int) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


CONFIG, PREPROCESSOR, TENSORS = "config.json", "preprocessor_config.json", "model*.safetensors"
"""Files of a model in a folder of Hugging Face: architecture, size and normalization of pictures, weights."""

WHOLE = "model.safetensors"
"""All weights in one file, beside which others are other versions."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")


def folder_of_weights(weights: str, cache: Path | None = None) -> Path | None:
    """Return the folder that a path or a name on Hugging Face's hub means; None if there is none on this machine.

    Args:
        weights: A folder of this name comes first.
        cache: The hub's cache, whose newest version counts; None: ``$HF_HUB_CACHE``, ``$HF_HOME/hub`` or
            ``~/.cache/huggingface/hub``.
    """
    folder = user_path(weights).absolute()
    if folder.exists() or not is_hub_name(weights):
        return folder if folder.is_dir() else None
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = try_to_load_from_cache(weights, CONFIG, cache)
    return Path(found).parent if isinstance(found, str) else None


def files_of_weights(folder: Path) -> list[Path]:
    """Return the files of a network's weights: ``model.safetensors``, or else all parts of it, sorted."""
    whole = folder / WHOLE
    return [whole] if whole.exists() else sorted(folder.glob(TENSORS))


def is_hub_name(weights: str) -> bool:
    """Return whether a text may be the name of a model on the hub."""
    return _HUB_NAME.fullmatch(weights) is not None and ".." not in weights and "--" not in weights


def digest_of_weights(weights: str) -> str:
    """Return the SHA-256 of a model's architecture, pre-processing and weights; empty where they are not all there."""
    folder = folder_of_weights(weights)
    if folder is None:
        return ""
    files = [folder / CONFIG, *files_of_weights(folder)]
    digests = [_digest_of(file, str(file)) for file in files]
    if len(files) == 1 or not all(digests):
        return ""
    return sha256(" ".join([*digests, _digest_of(folder / PREPROCESSOR, PREPROCESSOR)]).encode()).hexdigest()
