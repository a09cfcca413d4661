"""A prefix of an S3 bucket: objects that are read, listed and replaced on conditions, with errors as one sentence.

Credentials, region and endpoint are found as all AWS tools find them (environment, profile, machine); none is kept or
shown. Requests that meet a server that is away are tried again for a while, but not before it has answered once.

Belongs here: requests, and what their failures mean. Does not belong here: what the objects hold (``remote``,
``locks.lease``).
"""

import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from assay.errors import SpecError, StorageError, UnreachableError, shorten
from assay.spec.secrets import hide
from assay.storage.files import sha256_of

SCHEME = "s3://"

AT_ONCE = 16
"""Requests that one process sends in parallel."""

MOST_AT_A_TIME = 16 * 2**20
"""Files up to this size, in bytes, are sent by one request; larger ones in parts."""

FIRST_PATIENCE_S, PATIENCE_S = 5.0, 120.0
"""For how long a server is asked again that has never answered this process; that has answered, and is away now."""

LONGEST_PAUSE_S = 5.0

BLOCK_BYTES = 1 << 20

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*")

_PASSING_CODES = frozenset(
    {
        "SlowDown",
        "InternalError",
        "ServiceUnavailable",
        "RequestTimeout",
        "OperationAborted",
        "ConditionalRequestConflict",  # somebody else is writing: only the next attempt knows who was first
    }
)
_PASSING_STATUS = frozenset({408, 429})
_RIGHTS_CODES = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "403", "401"})
_EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"})
_CONFLICTS = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_MISSING = frozenset({"NoSuchKey", "NotFound", "404"})

Answer = TypeVar("Answer")


class Object(NamedTuple):
    """An object as it was read.

    Attributes:
        content: Its bytes.
        etag: What names this content of it in a condition.
        labels: Its metadata.
        age_s: How long ago it was written, in seconds, by the server's own clock.
    """

    content: bytes
    etag: str
    labels: Mapping[str, str]
    age_s: float


class Listed(NamedTuple):
    """An entry of a listing: size in bytes, and ETag."""

    size_bytes: int
    etag: str


class ConflictError(StorageError):
    """The condition of a request was not met: somebody else was first."""


@dataclass
class Bucket:
    """A prefix of a bucket.

    Attributes:
        name: Name of the bucket.
        prefix: Beginning of all keys, without slashes at its ends; may be empty.
        has_answered: Whether the server has answered this process.
    """

    name: str
    prefix: str
    has_answered: bool = field(default=False, compare=False)

    @classmethod
    def at(cls, url: str) -> "Bucket":
        """Return the bucket and prefix of ``s3://BUCKET/PREFIX``; nothing is asked yet.

        Raises:
            SpecError: It is no such URL.
        """
        rest = url.removeprefix(SCHEME)
        name, _, prefix = rest.partition("/")
        prefix = prefix.rstrip("/")
        if not url.startswith(SCHEME) or not _NAME.fullmatch(name) or (prefix and not _PREFIX.fullmatch(prefix)):
            raise SpecError(hide(url), [f"got {shorten(hide(url))}; {_why_no_url(url, name)}"])
        if {".", ".."} & set(prefix.split("/")):
            raise SpecError(hide(url), ["expected a prefix without '.' and '..'"])
        return _known(name, prefix)

    @property
    def url(self) -> str:
        """Its URL, which holds no secret."""
        return f"{SCHEME}{self.name}/{self.prefix}".rstrip("/")

    @property
    def _client(self) -> Any:
        return _client(os.getpid(), _endpoint())

    def key(self, name: str) -> str:
        """Return the full key of an object."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def get(self, name: str, unless: str = "") -> Object | None:
        """Return an object; None if it does not exist, or, with ``unless``, if its ETag is still this one."""
        condition = {"IfNoneMatch": unless} if unless else {}
        try:
            return self._ask("read", lambda client: self._read(client, name, condition))
        except _MissingError:
            return None

    def _read(self, client: Any, name: str, condition: Mapping[str, str]) -> Object:
        answer = client.get_object(Bucket=self.name, Key=self.key(name), **condition)
        with answer["Body"] as body:
            content = body.read()
        now = _date_of(answer) or answer["LastModified"]
        age_s = max((now - answer["LastModified"]).total_seconds(), 0.0)
        return Object(content, answer["ETag"], answer.get("Metadata", {}), age_s)

    def put(self, name: str, content: bytes, labels: Mapping[str, str] | None = None) -> str:
        """Write an object whatever is there; returns its ETag."""
        return self._put(name, content, labels or {}, {})

    def create(self, name: str, content: bytes, labels: Mapping[str, str] | None = None) -> str:
        """Write an object that does not exist; returns its ETag.

        Raises:
            ConflictError: It exists, with other content.
        """
        return self._put(name, content, labels or {}, {"IfNoneMatch": "*"})

    def replace(self, name: str, content: bytes, expected: str) -> str:
        """Write an object in place of the one with the ETag ``expected``, or of none if that is empty.

        Raises:
            ConflictError: It is another one by now.
        """
        return self._put(name, content, {}, {"IfMatch": expected} if expected else {"IfNoneMatch": "*"})

    def _put(self, name: str, content: bytes, labels: Mapping[str, str], condition: Mapping[str, str]) -> str:
        def write(client: Any) -> str:
            answer = client.put_object(
                Bucket=self.name, Key=self.key(name), Body=content, Metadata=dict(labels), **condition
            )
            return str(answer["ETag"])

        try:
            return self._ask("write", write)
        except (ConflictError, _MissingError):
            # A request whose answer was lost is sent again, and then finds what it wrote itself.
            found = self.get(name)
            if found is not None and found.content == content:
                return found.etag
            raise ConflictError(f"{self.url}/{name} was written by somebody else just now.") from None

    def send(self, path: Path, name: str, sha256: str) -> None:
        """Write a file as an object, whatever is there.

        Raises:
            StorageError: The file has another hash than ``sha256``, because it was changed meanwhile.
        """
        if path.stat().st_size <= MOST_AT_A_TIME:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != sha256:
                raise StorageError(_changed(path))
            self.put(name, content)
            return

        def write(client: Any) -> None:
            from boto3.exceptions import S3UploadFailedError
            from boto3.s3.transfer import TransferConfig

            settings = TransferConfig(multipart_threshold=MOST_AT_A_TIME, multipart_chunksize=MOST_AT_A_TIME)
            try:
                client.upload_file(str(path), self.name, self.key(name), Config=settings)
            except S3UploadFailedError as error:  # it tells what the server said, but only as text
                raise error.__context__ or error from None

        self._ask("write", write)
        if sha256_of(path) != sha256:
            self.delete(name)
            raise StorageError(_changed(path))

    def fetch(self, name: str, path: Path, sha256: str) -> None:
        """Write an object into a new file and flush it to the disk.

        Raises:
            StorageError: There is no such object, or its content has another hash than ``sha256``.
        """

        def read(client: Any) -> str:
            digest = hashlib.sha256()
            answer = client.get_object(Bucket=self.name, Key=self.key(name))
            with answer["Body"] as body, path.open("wb") as file:
                while block := body.read(BLOCK_BYTES):
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            return digest.hexdigest()

        try:
            found = self._ask("read", read)
        except _MissingError:
            raise StorageError(f"{self.url}/{name} is gone, though a manifest lists it; {_damaged('that')}.") from None
        if found != sha256:
            told = f"{self.url}/{name} has SHA-256 {found[:12]}…, not that of its manifest"
            raise StorageError(f"{told}; {_damaged('this object and that')}.")

    def delete(self, name: str) -> None:
        """Delete an object; one that does not exist is as good."""
        with suppress(_MissingError):  # some servers say so
            self._ask("delete", lambda client: client.delete_object(Bucket=self.name, Key=self.key(name)))

    def list(self, folder: str) -> dict[str, Listed]:
        """Return all objects whose name begins with ``folder`` and a slash, by name.

        Those whose name ends in one are left out: consoles and gateways make them for folders, and they hold nothing.
        """

        def read(client: Any) -> dict[str, Listed]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=self.key(f"{folder}/"))
            cut = len(self.key(""))
            found = (entry for page in pages for entry in page.get("Contents", ()))
            entries = (entry for entry in found if not entry["Key"].endswith("/"))
            return {entry["Key"][cut:]: Listed(int(entry["Size"]), str(entry["ETag"])) for entry in entries}

        try:
            return self._ask("list", read)
        except _MissingError:
            raise StorageError(_no_bucket(self.name)) from None

    def clock_ahead_s(self) -> float:
        """Return by how many seconds the server's clock is ahead of this machine's."""
        before = time.time()
        own = {"Bucket": self.name, "Prefix": self.key(""), "MaxKeys": 1}
        answer = self._ask("list", lambda client: client.list_objects_v2(**own))
        date = _date_of(answer)
        return date.timestamp() - (before + time.time()) / 2 if date else 0.0

    def _ask(self, what: str, request: Callable[[Any], Answer]) -> Answer:
        """Return the answer to a request, sent again while the server is away, and once with credentials read anew.

        The time for which it is sent again begins with the first failure: what took long may fail at its end.

        Raises:
            UnreachableError: It is away for too long.
            StorageError: It refuses the request.
        """
        client, has_renewed = self._client, False
        failing_since, pause_s = 0.0, 0.1
        while True:
            try:
                answer = request(client)
            except Exception as error:
                if _code_of(error) in _EXPIRED_CODES and not has_renewed:
                    _client.cache_clear()  # a long process keeps those that it found at its start
                    client, has_renewed = self._client, True
                    continue
                patience_s = PATIENCE_S if self.has_answered else FIRST_PATIENCE_S
                if not _may_pass(error):
                    self.has_answered |= bool(_code_of(error))
                    raise self._explained(error, what) from None
                failing_since = failing_since or time.monotonic()
                if time.monotonic() - failing_since > patience_s:
                    raise self._explained(error, what) from None
                time.sleep(pause_s * random.uniform(0.5, 1))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self.has_answered = True
                return answer

    def _explained(self, error: Exception, what: str) -> Exception:
        """Return the error to raise in place of one of the client; the chain is cut, because it may show requests."""
        code, kind = _code_of(error), type(error).__name__
        if _is_local(error):
            return error
        if code == "304" or code in _MISSING:
            return _MissingError()
        if code in _CONFLICTS:
            return ConflictError(f"{self.url} holds something else by now.")
        if refused := self._refusal(code, what):
            return StorageError(refused)
        if "Credentials" in kind or kind in ("ProfileNotFound", "TokenRetrievalError", "UnauthorizedSSOTokenError"):
            return StorageError(
                f"No credentials for {self.url} were found ({kind}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "or name a profile of the AWS tools in AWS_PROFILE."
            )
        if _may_pass(error):
            told = f"{self.url} does not answer at {hide(_endpoint()) or 'AWS'} ({code or kind})"
            return UnreachableError(f"{told}. Start the server, or correct AWS_ENDPOINT_URL; then run again.")
        return StorageError(f"{self.url} can't be used: {hide(str(error)).splitlines()[0]} ({kind}).")

    def _refusal(self, code: str, what: str) -> str:
        """Return what to tell of a server that answers and refuses, for reasons that stay; empty if it is none."""
        if code == "NoSuchBucket":
            return _no_bucket(self.name)
        if code == "RequestTimeTooSkewed":
            return f"{self.url} refuses this machine's clock. Let it follow a time server (NTP)."
        if code in _EXPIRED_CODES:
            remedy = "Get new ones, such as by aws sso login or in AWS_SESSION_TOKEN, and run again"
            return f"The credentials for {self.url} have expired ({code}). {remedy}."
        if code in _RIGHTS_CODES:
            needed = "It needs the rights to list, read, write and delete objects"
            return f"{self.url} does not let these credentials {what} ({code}). {needed} below it."
        if code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "301"):
            return f"{self.url} is in another region. Name it in AWS_DEFAULT_REGION."
        return ""

    def require_conditions(self) -> None:
        """Check that the server knows conditional writes, by which machines keep out of each other's way.

        Raises:
            StorageError: It does not, or the rights to write or delete are missing.
        """
        name = f"probes/{uuid4().hex}"
        etag = self.create(name, b"1")
        try:
            refused = [_is_refused(lambda: self.create(name, b"2"))]
            refused += [_is_refused(lambda: self.replace(name, b"3", _OTHER))]
            is_replaced = not _is_refused(lambda: self.replace(name, b"4", etag))
        finally:
            self.delete(name)
        if not all(refused) or not is_replaced:
            raise StorageError(
                f"The server of {self.url} does not heed conditions of writes (If-None-Match, If-Match): two machines "
                "would overwrite each other. Use one that does, such as AWS S3, MinIO or SeaweedFS."
            )


_OTHER = f'"{"0" * 32}"'
"""An ETag that no object of the probe has."""


def _damaged(what: str) -> str:
    return f"restore the bucket, or delete {what} result's manifest there and its folder in all caches, and run again"


def _changed(path: Path) -> str:
    return f"{path} was changed while it was sent to the bucket, where nothing of it is used. Run again."


class _MissingError(Exception):
    """There is no such object, or none but the known one."""


def _is_refused(request: Callable[[], object]) -> bool:
    try:
        request()
    except ConflictError:
        return True
    return False


def _why_no_url(url: str, name: str) -> str:
    if "@" in name:
        return "expected no login in it: credentials are found as by all AWS tools, such as in AWS_ACCESS_KEY_ID"
    if not url.startswith(SCHEME):
        return "expected a folder, or s3://BUCKET/PREFIX, the one kind of object store that is supported"
    return "expected s3://BUCKET/PREFIX, with a bucket of 3 to 63 small letters, digits, dots and hyphens"


def _no_bucket(name: str) -> str:
    return f"The bucket {name!r} does not exist there. Make it, or correct the name in ASSAY_STORAGE."


def _endpoint() -> str:
    """Return where the user's variables say that the server is; empty: at AWS, or as a profile says."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _code_of(error: Exception) -> str:
    """Return the code in a server's answer; empty for all other errors."""
    answer = getattr(error, "response", None)
    return str(answer.get("Error", {}).get("Code", "")) if isinstance(answer, dict) else ""


_PASSING = frozenset(
    {"HTTPClientError", "ConnectionError", "IncompleteReadError", "ResponseStreamingError", "ProtocolError"}
)
"""Base classes of the errors of botocore and urllib3 when a server does not answer, or stops in the middle."""


def _may_pass(error: Exception) -> bool:
    """Return whether an error is one of the connection or of an overloaded server, which may be gone a moment later."""
    code = _code_of(error)
    if code:
        status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return code in _PASSING_CODES or int(status) >= 500 or int(status) in _PASSING_STATUS
    names = {each.__name__ for each in type(error).__mro__}
    if "ProxyConnectionError" in names or "SSLError" in names:
        return False
    return not _PASSING.isdisjoint(names) or isinstance(error, ConnectionError | TimeoutError)


def _is_local(error: Exception) -> bool:
    """Return whether an error is one of a file on this machine; some of the client's are OSErrors as well."""
    is_file = isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in ("botocore", "urllib3")
    return isinstance(error, StorageError) or (is_file and not isinstance(error, ConnectionError | TimeoutError))


def _date_of(answer: Mapping[str, Any]) -> datetime | None:
    with suppress(KeyError, TypeError, ValueError):
        return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    return None


@cache
def _known(name: str, prefix: str) -> Bucket:
    return Bucket(name, prefix)


@cache
def _client(process: int, endpoint: str) -> Any:
    """Return the client of a process: connections don't survive a fork.

    Raises:
        StorageError: boto3 is not installed, or a setting of the AWS tools can't be used.
    """
    try:
        import boto3.session
        from botocore.config import Config
    except ImportError as error:
        raise StorageError(f"An S3 storage needs boto3: {error}. Next: pip install 'assay[s3]'.") from None
    settings = Config(
        retries={"total_max_attempts": 1},  # we try again ourselves, for longer
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=5 * AT_ONCE,  # several results at once
    )
    try:
        return boto3.session.Session().client("s3", config=settings)
    except Exception as error:  # an endpoint that is no URL, a profile that does not exist
        reason = hide(str(error)).splitlines()[0]
        told = f"The settings of the AWS tools can't be used: {reason}"
        raise StorageError(f"{told}. Correct the variables AWS_… or the files that they name.") from None
