"""What every test shares: repeatable property tests without a deadline, and packages that register entry points."""

import atexit
import gc
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from assay.spec.plugins import forget_plugins

# Torch and Dagster make a million objects that live as long as the process; looking at them all the time costs a tenth.
gc.set_threshold(100_000, 50, 50)


settings.register_profile("assay", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("assay")


@pytest.fixture
def install_package(tmp_path, monkeypatch):
    """Give ``install(group, kind, target, package, version, **modules)``: puts a package on the path, as pip would."""
    installed = []

    def install(
        group: str, kind: str, target: str, *, package: str = "added", version: str = "1", **modules: str
    ) -> None:
        for name, text in modules.items():
            Path(tmp_path / f"{name}.py").write_text(text)
            installed.append(name)
        info = tmp_path / f"{package}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{kind} = {target}\n")
        monkeypatch.syspath_prepend(tmp_path)
        forget_plugins()

    yield install
    forget_plugins()
    for name in installed:
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def running_s3():
    """An S3 server with one bucket for all tests of this process; see ``tests.helpers.buckets``."""
    from tests.helpers.buckets import s3_server

    with s3_server() as server:
        yield server


@pytest.fixture
def s3(running_s3, monkeypatch):
    """That server, and its credentials in the environment."""
    for name, value in running_s3.variables.items():
        monkeypatch.setenv(name, value)
    return running_s3


def pytest_collection_finish():
    """Leave what the imports made out of all further collections of garbage, of which pytest forces some at the end."""
    gc.freeze()
    atexit.register(gc.unfreeze)
