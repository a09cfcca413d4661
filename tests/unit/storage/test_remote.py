"""A storage in a bucket: results made once for all machines, whole or absent; a cache that asks nobody."""

import threading
from pathlib import Path

import pytest

from assay.errors import StorageError, UnreachableError
from assay.pipeline import StageConfig
from assay.storage.bucket import Bucket
from assay.storage.files import MANIFEST, seal, write_text
from assay.storage.remote import connect_bucket, refuse_in_bucket, remote_of, storage_at
from assay.storage.results import Result, ResultStore, verify
from tests.helpers.results import Section, build

pytestmark = pytest.mark.system


def config(digest="d", **section):
    return StageConfig("ab12", "splits", "regression", 42, Section(**section), digest)


def write_hello(folder: Path):
    (folder / "sub").mkdir()
    for name in ("hello.txt", "sub/hello.txt", "sub/other.txt"):
        (folder / name).write_text("hello" if name.endswith("hello.txt") else "other")
    return {"rows": 1}


def never(folder: Path):
    pytest.fail("built again")


@pytest.fixture
def url(s3):
    return s3.new_prefix()


@pytest.fixture
def machine(url, tmp_path):
    """Give ``machine(name)``: the results of a machine of that name."""
    return lambda name: ResultStore(connect_bucket(url, tmp_path / name).root)


@pytest.fixture
def no_requests(monkeypatch):
    """Give a function, after which every request fails the test."""
    return lambda: monkeypatch.setattr(Bucket, "_ask", lambda _bucket, what, _request: pytest.fail(f"asked to {what}"))


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_one_machine_made_another_finds_with_the_same_bytes(machine):
    made = build(machine("a"), config(), {"source": "x"}, write_hello)
    found = build(machine("b"), config(), {"source": "x"}, never)
    assert (made.reused, found.reused) == (False, True)
    assert found.folder != made.folder
    assert contents(found.folder) == contents(made.folder)
    assert verify(found) == []
    assert machine("c").find("splits", made.fingerprint) is None
    opened = machine("c").open("splits", made.fingerprint)
    assert contents(opened.folder) == contents(made.folder)


def test_the_same_bytes_are_sent_once(machine, url, s3):
    build(machine("a"), config(), {"source": "x"}, write_hello)
    objects = [name for name in s3.keys(url) if "/files/" in name]
    assert len(objects) == 3  # hello, other, and the report


def test_a_result_that_is_here_asks_nobody(machine, no_requests):
    store = machine("a")
    made = build(store, config(), {"source": "x"}, write_hello)
    no_requests()
    assert build(store, config(), {"source": "x"}, never) == made
    assert store.open("splits", made.fingerprint) == made
    with store.reading(made):
        pass


def test_an_ordinary_storage_asks_nobody(tmp_path, no_requests):
    no_requests()
    root = storage_at(str(tmp_path / "storage"))
    build(ResultStore(root), config(), {"source": "x"}, write_hello)
    assert remote_of(root) is None
    refuse_in_bucket(root, "This", "That.")


def test_another_place_of_the_results_is_no_other_result(machine):
    build(machine("a"), config(output_location="here"), {"source": "x"}, write_hello)
    found = build(machine("b"), config(output_location="there"), {"source": "x"}, never)
    assert found.folder.parts[-3] == "there"
    assert machine("c").open("splits", found.fingerprint).folder.parts[-3] == "here"


def test_eight_machines_that_make_one_result_at_once_make_it_once(machine):
    made, lock = [], threading.Lock()

    def fill(folder):
        with lock:
            made.append(folder)
        return write_hello(folder)

    stores = [machine(f"m{number}") for number in range(8)]
    found = at_once(lambda store: build(store, config(), {"source": "x"}, fill), stores)
    assert len(made) == 1
    assert len({str(contents(result.folder)) for result in found}) == 1


def at_once(work, values):
    """Return ``work(value)`` for all values, in order; each in a thread of its own."""
    found = {}
    threads = [threading.Thread(target=lambda each=each: found.update({id(each): work(each)})) for each in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    return [found[id(each)] for each in values]


def test_of_eight_that_publish_one_result_without_a_lock_one_wins_and_all_have_it(machine, tmp_path):
    stores = [machine(f"m{number}") for number in range(8)]

    def publish(store):
        number = stores.index(store)
        folder = tmp_path / f"draft-{number}"
        write_text(folder / "file", f"of {number}")
        head = {"stage": "splits", "fingerprint": "0" * 24, "code_version": "1", "section": {}, "task": None}
        seal(folder, {**head, "inputs": {}, "ancestors": {}})
        result = Result("splits", "0" * 24, store.root / "data" / "splits" / ("0" * 24))
        is_ours = store.share(result, folder)
        return number if is_ours else None

    won = [number for number in at_once(publish, stores) if number is not None]
    assert len(won) == 1
    for number, store in enumerate(stores):
        folder = store.root / "data" / "splits" / ("0" * 24)
        if number != won[0]:  # the winner puts its own draft in place
            assert (folder / "file").read_text() == f"of {won[0]}"


def test_an_upload_that_was_cut_off_goes_on_and_shows_nothing_before_its_end(machine, monkeypatch):
    store, sent, send = machine("a"), [], Bucket.send

    def cut_off(bucket, path, name, sha256):
        if len(sent) == 1:
            raise StorageError("cut off")
        sent.append(name)
        send(bucket, path, name, sha256)

    monkeypatch.setattr(Bucket, "send", cut_off)
    monkeypatch.setattr("assay.storage.remote.AT_ONCE", 1)
    with pytest.raises(StorageError, match="cut off"):
        build(store, config(), {"source": "x"}, write_hello)
    with pytest.raises(StorageError, match="holds no complete splits"):
        machine("b").open("splits", config().fingerprint({"source": "x"}))
    monkeypatch.setattr(
        Bucket, "send", lambda bucket, path, name, sha256: sent.append(name) or send(bucket, path, name, sha256)
    )
    build(store, config(), {"source": "x"}, write_hello)
    assert len(sent) == len(set(sent)) == 3
    build(machine("b"), config(), {"source": "x"}, never)


def test_a_result_made_anew_takes_the_place_of_the_former(machine):
    def write(text):
        def fill(folder):
            (folder / "file").write_text(text)
            return {}

        return fill

    build(machine("a"), config(), {"source": "x"}, write("one"))
    build(machine("b"), config(clear_folder=True), {"source": "x"}, write("two"))
    assert (build(machine("c"), config(), {"source": "x"}, never).folder / "file").read_text() == "two"
    assert (build(machine("a"), config(), {"source": "x"}, never).folder / "file").read_text() == "one"


def test_a_damaged_object_or_manifest_is_refused_and_leaves_nothing(machine, url):
    made = build(machine("a"), config(), {"source": "x"}, write_hello)
    name = f"results/splits/{made.fingerprint}"
    sha256 = made.manifest["files"]["hello.txt"]["sha256"]
    bucket, store = Bucket.at(url), machine("b")
    bucket.put(f"{name}/files/{sha256}", b"hullo")
    with pytest.raises(StorageError, match=r"not that of its manifest; restore the bucket, or delete"):
        build(store, config(), {"source": "x"}, never)
    bucket.delete(f"{name}/files/{sha256}")
    with pytest.raises(StorageError, match=r"is gone, though a manifest lists it"):
        build(store, config(), {"source": "x"}, never)
    bucket.put(f"{name}/{MANIFEST}", b'{"files": {"../x": {}}}')
    with pytest.raises(StorageError, match=rf"{name}/{MANIFEST}: "):
        build(store, config(), {"source": "x"}, never)
    assert [path for path in (store.root / "data").rglob("*") if path.is_file()] == []


def test_manifest_and_tables_of_a_result_are_had_without_its_images_and_asked_for_once(machine, no_requests):
    def write(folder):
        (folder / "images").mkdir()
        for name in ("items.parquet", "images/one.png", "images/two.png"):
            (folder / name).write_text(name)
        return {}

    made, store = build(machine("a"), config(), {"source": "x"}, write), machine("b")
    assert store.manifest("splits", made.fingerprint) == made.manifest
    folder = store.tables("splits", made.fingerprint)
    assert contents(folder) == {"items.parquet": b"items.parquet"}
    no_requests()
    assert store.manifest("splits", made.fingerprint) == made.manifest
    assert store.tables("splits", made.fingerprint) == folder
    assert store.find("splits", made.fingerprint) is None


def test_what_no_machine_made_has_no_manifest_and_no_tables(machine):
    store = machine("a")
    assert store.manifest("splits", "0" * 24) is None
    with pytest.raises(StorageError, match="holds no complete splits"):
        store.tables("splits", "0" * 24)


def test_a_full_disk_is_one_sentence(machine, monkeypatch):
    build(machine("a"), config(), {"source": "x"}, write_hello)
    remote = remote_of(machine("b").root)
    with pytest.raises(StorageError, match=r"^The cache .* is full: 4,611.* MB are needed, but .* Free space, or name"):
        remote.writing(2**62).__enter__()


def test_a_cache_belongs_to_one_bucket(machine, url, s3, tmp_path):
    root = machine("a").root
    other = s3.new_prefix()
    with pytest.raises(
        StorageError, match=rf"is the cache of {url}, not of {other}. Name another folder in ASSAY_CACHE"
    ):
        connect_bucket(other, root)
    with pytest.raises(StorageError, match=rf"is the cache of {url}. Name the bucket in ASSAY_STORAGE"):
        storage_at(str(root))
    write_text(tmp_path / "full" / "data" / "file", "x")
    with pytest.raises(StorageError, match=r"but holds something else. Name another folder in ASSAY_CACHE"):
        connect_bucket(url, tmp_path / "full")


def test_a_bucket_of_a_later_version_is_refused(url, tmp_path):
    Bucket.at(url).put("storage.json", b'{"format": 2}')
    with pytest.raises(StorageError, match=r"has format 2; this version of Assay knows 1. Install the same version on"):
        connect_bucket(url, tmp_path / "a")


def test_small_files_come_to_all_machines_and_go_from_them(machine):
    one, two = remote_of(machine("a").root), remote_of(machine("b").root)
    one.push("boards/main.json", b"1")
    two.pull()
    assert (two.root / "boards" / "main.json").read_text() == "1"
    two.push("boards/main.json", b"2")
    with pytest.raises(StorageError, match=r"was changed by another machine just now, whose change is kept. Run again"):
        one.push("boards/main.json", b"3")
    assert (one.root / "boards" / "main.json").read_text() == "2"
    (one.root / "boards" / "main.json").unlink()
    one.pull()
    assert (one.root / "boards" / "main.json").read_text() == "2"
    one.drop("boards/main.json")
    two.pull()
    assert not (two.root / "boards" / "main.json").exists()


def test_a_small_file_that_could_not_be_published_or_removed_is_as_it_was(machine, monkeypatch):
    one = remote_of(machine("a").root)
    one.push("boards/main.json", b"1")

    def away(*_):
        raise UnreachableError("away")

    for name in ("replace", "delete"):
        monkeypatch.setattr(Bucket, name, away)
    with pytest.raises(UnreachableError):
        one.push("boards/main.json", b"2")
    with pytest.raises(UnreachableError):
        one.drop("boards/main.json")
    assert (one.root / "boards" / "main.json").read_text() == "1"


def test_an_object_of_another_size_is_sent_again(machine, url):
    made = build(machine("a"), config(), {"source": "x"}, write_hello)
    name = f"results/splits/{made.fingerprint}"
    sha256 = made.manifest["files"]["hello.txt"]["sha256"]
    bucket = Bucket.at(url)
    bucket.put(f"{name}/files/{sha256}", b"cut")
    bucket.delete(f"{name}/{MANIFEST}")
    build(machine("b"), config(), {"source": "x"}, write_hello)
    assert bucket.get(f"{name}/files/{sha256}").content == b"hello"


@pytest.mark.parametrize("place", ["../elsewhere", "locks"])
def test_a_label_that_leads_elsewhere_is_refused(machine, url, place):
    made = build(machine("a"), config(), {"source": "x"}, write_hello)
    name = f"results/splits/{made.fingerprint}/{MANIFEST}"
    bucket = Bucket.at(url)
    bucket.put(name, bucket.get(name).content, {"place": place})
    with pytest.raises(
        StorageError, match=rf"{name} has the label 'place' .*, no folder of results. Restore the bucket"
    ):
        machine("b").open("splits", made.fingerprint)
