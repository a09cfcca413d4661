"""What an experiment ran on: code version, packages, hardware. Never environment variables: they hold secrets."""

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import assay


def git_version(folder: Path) -> dict[str, Any]:
    """Return commit and dirty flag of the repository around ``folder``; both None outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain") if commit else None
    return {"commit": commit, "dirty": None if status is None else bool(status)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, fixed arguments
            ["git", *arguments],  # noqa: S607 - the user's own git
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def git_versions(folder: Path) -> dict[str, Any]:
    """Return the versions of Assay and of the project that uses it."""
    package = Path(assay.__file__).parent
    return {"assay": {"version": assay.__version__, **git_version(package)}, "project": git_version(folder)}


@cache
def environment() -> dict[str, Any]:
    """Return Python, packages and hardware; they stay what they are while a process lives."""
    # Each access to ``metadata`` parses a file, and ``version`` does so again.
    found = [dist.metadata for dist in distributions()]
    packages = {entry["Name"]: entry["Version"] for entry in found if entry["Name"]}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": memory,
        "packages": dict(sorted(packages.items())),
    }
