"""The hash of the code that runs: when it changes, what failed before deserves another try."""

import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path


def code_digest(packages: Iterable[str]) -> str:
    """Return the hash over all Python files of packages or modules, found without importing them."""
    digest = hashlib.sha256()
    for name in packages:
        for path in _files(name):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


def _files(name: str) -> list[Path]:
    found = find_spec(name)
    if found is None or found.origin is None:
        return []
    origin = Path(found.origin)
    return sorted(origin.parent.rglob("*.py")) if found.submodule_search_locations else [origin]
