"""Requests to a bucket: conditions, what was answered before the answer was lost, and failures as one sentence."""

import socket
import threading
from contextlib import closing
from hashlib import sha256
from http.server import BaseHTTPRequestHandler

import pytest

from assay.errors import SpecError, StorageError, UnreachableError
from assay.storage import bucket as module
from assay.storage.bucket import Bucket, ConflictError
from assay.storage.remote import storage_at
from tests.helpers.buckets import BUCKET, READER, READER_SECRET, SECRET
from tests.helpers.http_answers import address_of, served_by


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("gs://bucket/prefix", "expected a folder, or s3://BUCKET/PREFIX, the one kind of object store"),
        ("http://127.0.0.1:8333/bucket", "expected a folder, or s3://BUCKET/PREFIX"),
        ("s3:/bucket/prefix", "expected a folder, or s3://BUCKET/PREFIX"),
        ("s3://", "with a bucket of 3 to 63 small letters"),
        ("s3://Bucket/prefix", "with a bucket of 3 to 63 small letters"),
        ("s3://bucket/a//b", "expected s3://BUCKET/PREFIX"),
        ("s3://bucket/../b", "expected a prefix without '.' and '..'"),
        ("s3://bucket/a b", "expected s3://BUCKET/PREFIX"),
        ("s3://user:planted-secret@bucket/a", "expected no login in it"),
    ],
)
def test_what_is_no_url_of_a_bucket_is_refused_before_anything_is_asked(url, told):
    with pytest.raises(SpecError) as failed:
        storage_at(url)
    assert told in str(failed.value)
    assert "planted-secret" not in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_url_may_end_in_a_slash_and_have_no_prefix():
    assert Bucket.at("s3://bucket/a/b/").url == "s3://bucket/a/b"
    assert (Bucket.at("s3://bucket").url, Bucket.at("s3://bucket/").key("x")) == ("s3://bucket", "x")


@pytest.fixture
def bucket(s3):
    return Bucket.at(s3.new_prefix())


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "FIRST_PATIENCE_S", 0.0)
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)


@pytest.mark.system
def test_objects_are_written_on_conditions(bucket):
    bucket.require_conditions()
    assert bucket.get("a/b") is None
    first = bucket.create("a/b", b"1", {"place": "data"})
    assert bucket.create("a/b", b"1") == first  # as after an answer that was lost
    with pytest.raises(ConflictError):
        bucket.create("a/b", b"2")
    second = bucket.replace("a/b", b"2", first)
    with pytest.raises(ConflictError):
        bucket.replace("a/b", b"3", first)
    with pytest.raises(ConflictError):
        bucket.replace("missing", b"3", first)
    found = bucket.get("a/b")
    assert (found.content, found.etag, bucket.get("a/b", unless=second)) == (b"2", second, None)
    assert {name: entry.size_bytes for name, entry in bucket.list("a").items()} == {"a/b": 1}
    bucket.delete("a/b")
    bucket.delete("a/b")
    assert bucket.list("a") == {}


@pytest.mark.system
def test_of_sixteen_writers_at_once_one_is_first(bucket):
    won, start = [], threading.Barrier(16)

    def write(number):
        start.wait()
        try:
            bucket.create("place", str(number).encode())
            won.append(number)
        except ConflictError:
            pass

    threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1
    assert bucket.get("place").content == str(won[0]).encode()


@pytest.mark.system
def test_large_files_are_sent_in_parts_and_come_back_the_same(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_AT_A_TIME", 5 * 2**20)
    content = bytes(range(256)) * (12 * 2**12) + b"end"
    (tmp_path / "file").write_bytes(content)
    bucket.send(tmp_path / "file", "file", sha256(content).hexdigest())
    bucket.fetch("file", tmp_path / "back", sha256(content).hexdigest())
    assert (tmp_path / "back").read_bytes() == content
    with pytest.raises(StorageError, match="not that of its manifest"):
        bucket.fetch("file", tmp_path / "back", "0" * 64)
    with pytest.raises(StorageError, match=r"/nowhere is gone, though a manifest lists it"):
        bucket.fetch("nowhere", tmp_path / "back", "0" * 64)


@pytest.mark.system
def test_missing_bucket_rights_and_credentials_are_one_sentence_each(s3, monkeypatch, impatient):
    def told(url, **variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
        module._client.cache_clear()
        with pytest.raises(StorageError) as failed:
            Bucket.at(url).require_conditions()
        text = str(failed.value)
        assert "\n" not in text
        assert SECRET not in text
        assert READER_SECRET not in text
        return text

    url = f"s3://{BUCKET}/rights"
    assert told("s3://nowhere-at-all/a").startswith("The bucket 'nowhere-at-all' does not exist there. Make it, or")
    as_reader = told(url, AWS_ACCESS_KEY_ID=READER, AWS_SECRET_ACCESS_KEY=READER_SECRET)
    assert as_reader.startswith(f"{url} does not let these credentials write (AccessDenied). It needs the rights to")
    assert "does not let these credentials write" in told(url, AWS_SECRET_ACCESS_KEY=SECRET[::-1])
    nobody = told(url, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert nobody.startswith(f"No credentials for {url} were found (NoCredentialsError). Set AWS_ACCESS_KEY_ID and")
    assert "AWS_PROFILE" in nobody
    module._client.cache_clear()


@pytest.mark.system
def test_a_server_that_does_not_answer_is_named_with_its_endpoint(monkeypatch, impatient):
    pytest.importorskip("boto3")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    set_endpoint(monkeypatch, f"http://127.0.0.1:{port}")
    with pytest.raises(UnreachableError) as failed:
        Bucket.at("s3://bucket/a").get("x")
    told = f"s3://bucket/a does not answer at http://127.0.0.1:{port} (EndpointConnectionError). Start the server, or"
    assert str(failed.value).startswith(told)


@pytest.mark.system
def test_an_endpoint_that_is_no_url_is_told(monkeypatch):
    pytest.importorskip("boto3")
    set_endpoint(monkeypatch, "nonsense")
    with pytest.raises(StorageError, match=r"The settings of the AWS tools can't be used: .*nonsense"):
        Bucket.at("s3://bucket/a").get("x")


def set_endpoint(monkeypatch, url):
    variables = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret-0123456789", "AWS_ENDPOINT_URL": url}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


class Told:
    """An answer of a server before it has done anything, put in the way of a client's next requests of one kind."""

    def __init__(self, bucket, request, status, code, times=1):
        self.left, self.status = times, status
        self.content = f"<Error><Code>{code}</Code><Message>told</Message></Error>".encode()
        bucket._client.meta.events.register_first(f"before-send.s3.{request}", self.answer)

    def answer(self, request, **_):
        from botocore.awsrequest import AWSResponse

        self.left -= 1
        return AWSResponse(request.url, self.status, {}, self) if self.left >= 0 else None

    def stream(self, **_):
        yield self.content


@pytest.fixture
def own_client():
    """Let the test have a client of its own, which no other test sees."""
    module._client.cache_clear()
    yield
    module._client.cache_clear()


@pytest.mark.system
def test_a_part_of_a_large_file_that_a_busy_server_refuses_is_sent_again(bucket, tmp_path, monkeypatch, own_client):
    monkeypatch.setattr(module, "MOST_AT_A_TIME", 5 * 2**20)
    content = bytes(6 * 2**20)
    (tmp_path / "file").write_bytes(content)
    told = Told(bucket, "UploadPart", 503, "SlowDown")
    bucket.send(tmp_path / "file", "file", sha256(content).hexdigest())
    assert told.left < 0
    assert bucket.get("file").content == content
    Told(bucket, "UploadPart", 403, "AccessDenied", 9)
    with pytest.raises(StorageError, match=r"does not let these credentials write \(AccessDenied\)"):
        bucket.send(tmp_path / "file", "file", sha256(content).hexdigest())


@pytest.mark.system
@pytest.mark.parametrize(("status", "code"), [(409, "ConditionalRequestConflict"), (429, "TooManyRequests")])
def test_who_was_first_is_asked_again_where_the_server_does_not_know_yet(bucket, own_client, status, code):
    told = Told(bucket, "PutObject", status, code)
    bucket.create("place", b"1")
    assert told.left < 0
    assert bucket.get("place").content == b"1"
    with pytest.raises(ConflictError):
        bucket.create("place", b"2")


@pytest.mark.system
def test_credentials_that_expired_are_read_anew_once_and_then_told(bucket, own_client, monkeypatch):
    client = bucket._client
    Told(bucket, "PutObject", 400, "ExpiredToken", 9)
    bucket.put("place", b"1")
    assert bucket._client is not client
    monkeypatch.setattr(module, "_client", _Kept(client))
    with pytest.raises(
        StorageError, match=r"^The credentials for s3://.* have expired \(ExpiredToken\)\. Get new ones"
    ):
        bucket.put("place", b"1")


class _Kept:
    """Always the same client."""

    def __init__(self, client):
        self.client = client

    def __call__(self, *_):
        return self.client

    def cache_clear(self):
        pass


@pytest.mark.system
@pytest.mark.parametrize("most_at_a_time", [module.MOST_AT_A_TIME, 5 * 2**20])
def test_a_file_that_is_changed_while_it_is_sent_is_refused_and_leaves_nothing(
    bucket, tmp_path, monkeypatch, most_at_a_time
):
    monkeypatch.setattr(module, "MOST_AT_A_TIME", most_at_a_time)
    (tmp_path / "file").write_bytes(bytes(6 * 2**20))
    with pytest.raises(StorageError, match=r"file was changed while it was sent to the bucket, .* Run again\."):
        bucket.send(tmp_path / "file", "place", "0" * 64)
    assert bucket.get("place") is None


@pytest.mark.system
def test_objects_that_consoles_make_for_folders_are_not_listed(bucket, own_client):
    key = f"<Contents><Key>{bucket.key('a/')}</Key><Size>0</Size><ETag>1</ETag></Contents>"
    own = f"<Contents><Key>{bucket.key('a/b')}</Key><Size>3</Size><ETag>2</ETag></Contents>"
    told = Told(bucket, "ListObjectsV2", 200, "")
    told.content = f"<ListBucketResult><IsTruncated>false</IsTruncated>{key}{own}</ListBucketResult>".encode()
    assert bucket.list("a") == {"a/b": (3, "2")}


@pytest.mark.system
def test_deleting_what_the_server_does_not_have_is_as_good(bucket, own_client):
    told = Told(bucket, "DeleteObject", 404, "NoSuchKey")
    bucket.delete("place")
    assert told.left == 0  # asked once: it was neither refused nor asked again


def test_a_request_that_took_long_before_it_failed_is_sent_again(monkeypatch):
    bucket, clock, asked = Bucket("bucket", "a", has_answered=True), [0.0], []
    monkeypatch.setattr(module, "_client", lambda *_: None)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(module.time, "sleep", lambda _s: None)

    def request(_client):
        asked.append(1)
        clock[0] += 2 * module.PATIENCE_S
        if len(asked) in failing:
            raise ConnectionResetError("away")
        return "done"

    failing = {1}
    assert bucket._ask("read", request) == "done"
    failing = range(100)
    asked.clear()
    with pytest.raises(UnreachableError):
        bucket._ask("read", request)
    assert len(asked) == 2


class _Careless(BaseHTTPRequestHandler):
    """Answers every request with success, whatever its conditions, as servers did before they knew any."""

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    def do_GET(self):
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_arguments):
        pass


@pytest.mark.system
def test_a_server_without_conditional_writes_is_refused(monkeypatch, tmp_path):
    pytest.importorskip("boto3")
    with served_by(_Careless) as server:
        set_endpoint(monkeypatch, address_of(server))
        monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
        with pytest.raises(StorageError, match=r"does not heed conditions of writes \(If-None-Match, If-Match\)"):
            storage_at("s3://bucket/careless")
    assert not (tmp_path / "cache").exists()


@pytest.mark.system
def test_a_server_that_is_away_for_a_moment_is_asked_again(bucket, monkeypatch):
    bucket.put("place", b"1")
    asked = []

    def away(client):
        asked.append(1)
        if len(asked) < 3:
            raise ConnectionResetError("away")
        return client.get_object(Bucket=bucket.name, Key=bucket.key("place"))["ETag"]

    assert bucket._ask("read", away) == bucket.get("place").etag
    assert len(asked) == 3
