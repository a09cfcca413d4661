"""A storage in a bucket: publishing a result beside a plain parallel upload of the same files, and opening one.

The server is SeaweedFS on loopback, so that the figures are those of its requests and ours, not of a network.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from assay.storage.bucket import AT_ONCE
from assay.storage.files import seal
from assay.storage.remote import Remote, connect_bucket
from assay.storage.results import ResultStore
from benchmarks.rows import Row, Target, at_most
from tests.helpers.buckets import BUCKET, S3Server, s3_server

FILES, FILE_BYTES = 50, 200_000
REPEATS = 5


def run(quick: bool = False) -> list[Row]:
    """Measure; ``quick`` takes few small files, to see that it runs."""
    count, size_bytes, repeats = (5, 1000, 1) if quick else (FILES, FILE_BYTES, REPEATS)
    with s3_server() as server, tempfile.TemporaryDirectory() as name, _set(server.variables):
        remote = connect_bucket(server.new_prefix(), Path(name) / "cache")
        folder = _sealed(Path(name) / "result", count, size_bytes)
        published_s, plain_s = [], []
        for number in range(repeats):
            fingerprint = f"{number:024x}"
            plain_s.append(_seconds(lambda number=number: _upload(server, folder, f"plain-{number}")))
            published_s.append(_seconds(lambda each=fingerprint: _publish(remote, folder, each)))
        opened_s = _opened(remote, repeats)
    how = f"the fastest of {repeats}; floor: a plain upload, {AT_ONCE} at once"
    note = f"{count} files of {size_bytes / 1000:g} kB, {how}"
    return [
        Row("publish a result to a bucket", min(published_s), "s", Target("<=", 2.0, "floor"), min(plain_s), note),
        Row("open a cached result of a bucket", opened_s, "s", at_most(0.005), note="no request; find, and read lock"),
    ]


@contextmanager
def _set(variables: Mapping[str, str]) -> Iterator[None]:
    former = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(former)


def _sealed(folder: Path, count: int, size_bytes: int) -> Path:
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:04d}.bin").write_bytes(os.urandom(size_bytes))
    head = {"stage": "splits", "code_version": "1", "section": {}, "task": None, "inputs": {}, "ancestors": {}}
    seal(folder, {**head, "fingerprint": "0" * 24})
    return folder


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _upload(server: S3Server, folder: Path, prefix: str) -> None:
    """Upload all files of a folder, as one would without any care."""
    client = server.client()

    def put(path: Path) -> None:
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{path.name}", Body=path.read_bytes())

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, sorted(folder.iterdir())))


def _publish(remote: Remote, folder: Path, fingerprint: str) -> None:
    if not remote.publish(folder, "splits", fingerprint, "data"):
        raise RuntimeError("another result was there")


def _opened(remote: Remote, repeats: int) -> float:
    """Return how long it takes to find a cached result and to hold its read lock, in seconds."""
    fingerprint = "0" * 24
    remote.fetch("splits", fingerprint)
    store = ResultStore(remote.root)

    def use() -> None:
        with store.reading(store.open("splits", fingerprint)):
            pass

    return min(_seconds(use) for _ in range(10 * repeats))


if __name__ == "__main__":
    for row in run():
        print(f"{row.benchmark}: {row.value:.4f} {row.unit}, floor {row.floor}; {row.note}")
