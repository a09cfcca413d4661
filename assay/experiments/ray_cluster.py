"""A Ray cluster as Assay needs it: connecting to its job server, and what is wrong with its nodes, a sentence each.

The nodes are looked at by a job, a small program of the standard library and Ray: a node may lack Assay, or have
another version. Ray belongs to the extra ``scale`` and is imported only where it is used.

Belongs here: what can be found out without Dagster. Does not belong here: running experiments
(``resources.instance.ray_launcher``).
"""

import inspect
import json
import shlex
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

from assay.errors import StorageError, UnreachableError, printable
from assay.experiments.health import LARGEST_SKEW_S, Finding
from assay.experiments.profiles import DATABASE_VARIABLE, RAY_VARIABLE, database_url, missing_for_launcher, ray_address
from assay.experiments.workspace import EXPERIMENTS_VARIABLE, HOME_VARIABLE, STORAGE_VARIABLE, node_environment
from assay.storage.files import TEMPORARY_PREFIX
from assay.utils.text import pluralize

ANSWER_S = 60.0
"""Longest wait for an answer of the job server, in seconds; Ray's own client waits for ever."""

LOOK_S = 240.0
"""Longest wait for all nodes to be looked at, in seconds."""

MARK = "assay-nodes:"
"""How the line begins in which the job tells what it found."""

Report = Mapping[str, Any]
"""What one node said of itself: see ``look_at_node``."""


def job_client(address: str, **options: Any) -> Any:
    """Return a client of a cluster's job server that gives up on one that takes a request and does not answer.

    Args:
        address: Such as ``http://127.0.0.1:8265``.
        options: Those of Ray's ``JobSubmissionClient``.

    Raises:
        OSError: It does not answer.
    """
    from ray.job_submission import JobSubmissionClient  # seconds, and of the extra `scale`

    class Client(JobSubmissionClient):  # type: ignore[misc]
        def _do_request(self, method: str, endpoint: str, **values: Any) -> Any:
            return super()._do_request(method, endpoint, timeout=ANSWER_S, **values)

    return Client(address, **options)


def check_ray(settings: Mapping[str, Any], root: Path) -> Iterator[Finding]:
    """Yield whether the Ray cluster that settings name can run experiments; nothing where they name none.

    A short job is run on every node, and a small file is in the storage meanwhile.

    Args:
        settings: Those of the Dagster home.
        root: Storage root.

    Raises:
        StorageError: The cluster's address is missing or is none.
        UnreachableError: It does not answer.
    """
    if missing := missing_for_launcher(settings):
        yield Finding("engine", "problem", missing)
        return
    address = ray_address(settings)
    if address is None:
        return
    client = _connected(address)
    with _token(root) as path:
        question = _question(settings, path)
        nodes = _answer(client, question)
        here = look_at_node(question)
    problems = list(wrong_nodes(nodes, here))
    yield from (Finding("engine", "problem", each) for each in problems)
    if not problems:
        cores = sum(each["cpus"] for each in nodes)
        gpus = sum(each["gpus"] for each in nodes)
        size = f"{pluralize(len(nodes), 'node')}, {cores:g} cores, {gpus:g} GPUs"
        yield Finding("engine", "ok", f"Ray {here['ray']} at {address}: {size}; Assay, storage and database fit.")


def _connected(address: str) -> Any:
    try:
        return job_client(address)
    except (OSError, RuntimeError) as error:
        reason = " ".join(printable(str(error)).split()).rstrip(".")
        remedy = f"Next, on the machine of its head: ray start --head; or correct {RAY_VARIABLE}"
        raise UnreachableError(f"No Ray cluster answers at {address}: {reason}. {remedy}.") from None


@contextmanager
def _token(root: Path) -> Iterator[Path]:
    """Keep a file in the storage that nobody can guess, to see who finds it; it is removed again."""
    is_new = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    try:
        with NamedTemporaryFile("w", dir=root, prefix=TEMPORARY_PREFIX) as file:
            file.write(token_hex())
            file.flush()
            yield Path(file.name)
    finally:
        if is_new:
            with suppress(OSError):  # somebody began to use it
                root.rmdir()


def _question(settings: Mapping[str, Any], token: Path) -> dict[str, Any]:
    places, address = node_environment(), database_url(settings)
    parts = urlsplit(address or "")
    return {
        "folders": {
            name: places[name] for name in (EXPERIMENTS_VARIABLE, HOME_VARIABLE) if Path(places[name]).is_dir()
        },
        "storage": places[STORAGE_VARIABLE],
        "token": str(token),
        "secret": token.read_text(encoding="utf-8"),
        "database": [parts.hostname or "", parts.port or 5432] if address else None,
        "variable": DATABASE_VARIABLE,
        "packages": ["assay", "partitions", "resources", "assets", "definitions"],
    }


def look_at_node(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this machine has; it is sent to others as source, so it uses the standard library alone.

    Returns:
        ``time``, ``python``, ``ray`` and ``assay`` (versions; None: not installed), ``code`` (digest of the installed
        source), ``dagster`` (the command), ``missing`` (folders), ``storage`` and ``variable`` (whether they are
        there), ``database`` (why it can't be reached; empty if it can).
    """
    import hashlib
    import os
    import platform
    import shutil
    import socket
    import time
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec
    from pathlib import Path

    def version_of(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    digest = hashlib.sha256()
    for name in question["packages"]:
        found = find_spec(name)
        top = Path(found.origin) if found and found.origin else None
        inside = top is not None and top.name == "__init__.py"
        for path in sorted(top.parent.rglob("*.py")) if top and inside else [top] if top else []:
            digest.update(path.name.encode() + path.read_bytes())
    problem = ""
    if question["database"]:
        try:
            socket.create_connection(tuple(question["database"]), 10).close()
        except OSError as error:
            problem = str(error)
    token = Path(question["token"])
    return {
        "time": time.time(),
        "python": platform.python_version(),
        "ray": version_of("ray"),
        "assay": version_of("assay"),
        "code": digest.hexdigest()[:8],
        "dagster": shutil.which("dagster"),
        "missing": [place for place in question["folders"].values() if not os.access(place, os.W_OK | os.X_OK)],
        "storage": token.is_file() and token.read_text(encoding="utf-8") == question["secret"],
        "variable": not question["database"] or bool(os.environ.get(question["variable"])),
        "database": problem,
    }


def ask_nodes(question: Mapping[str, Any], mark: str) -> None:
    """Print what every node of this cluster has, as JSON behind a mark; runs as a job of the cluster."""
    import json
    import os
    import tempfile
    import time

    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)  # Ray has all nodes import from here first, and a checkout would hide what they have installed
        ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
        os.chdir("/")
    look = ray.remote(num_cpus=0, max_retries=0)(look_at_node)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    begin = time.time()
    on = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
    pending = [look.options(scheduling_strategy=each).remote(question) for each in on]
    told = []
    for node, each in zip(nodes, pending, strict=True):
        name = f"{node['NodeManagerAddress']} ({node['NodeID'][:6]})"
        has = {"name": name, "cpus": node["Resources"].get("CPU", 0), "gpus": node["Resources"].get("GPU", 0)}
        told.append({**ray.get(each), **has})
    print(mark + json.dumps({"nodes": told, "between": [begin, time.time()]}), flush=True)


def _answer(client: Any, question: Mapping[str, Any]) -> list[Report]:
    """Return what all nodes say.

    Raises:
        StorageError: The job failed, or the nodes did not answer in time.
    """
    call = f"ask_nodes(json.loads({json.dumps(question)!r}), {MARK!r})"
    parts = ["import json", "from collections.abc import Mapping", "from typing import Any"]
    program = "\n".join([*parts, inspect.getsource(look_at_node), inspect.getsource(ask_nodes), call])
    job = client.submit_job(entrypoint=f"python3 -c {shlex.quote(program)}")
    deadline = time.monotonic() + LOOK_S
    while not (status := client.get_job_status(job)).is_terminal():
        if time.monotonic() > deadline:
            client.stop_job(job)
            raise StorageError(f"The nodes of the Ray cluster did not answer within {LOOK_S:g} s. See: ray status")
        time.sleep(0.5)
    lines = [line for line in client.get_job_logs(job).splitlines() if line.startswith(MARK)]
    if not lines:
        said = " ".join(printable(client.get_job_info(job).message or "").split())[-300:]
        remedy = "Activate Assay's environment on all nodes before: ray start"
        raise StorageError(f"The nodes of the Ray cluster could not be looked at ({status}): {said}. {remedy}")
    found = json.loads(lines[-1].removeprefix(MARK))
    begin, end = found["between"]
    return [{**node, "skew": max(begin - node["time"], node["time"] - end, 0.0)} for node in found["nodes"]]


def wrong_nodes(nodes: Sequence[Report], here: Report) -> Iterator[str]:
    """Yield what is wrong with nodes, one sentence for each kind of defect, with its remedy.

    Args:
        nodes: What the nodes say of themselves, with ``name``, ``cpus`` and ``skew`` in seconds.
        here: What this machine says of itself.
    """
    yield from _unlike(nodes, here)
    if names := _names(each for each in nodes if each["dagster"] is None):
        yield f"The command 'dagster' is not on the PATH of {names}. Activate the environment before: ray start"
    yield from _unreachable(nodes)
    if names := _names(each for each in nodes if each["skew"] > LARGEST_SKEW_S):
        yield f"The clock of {names} differs from that of the head. Let all follow one time server (NTP)."
    if not any(each["cpus"] for each in nodes):
        yield "No node has cores to work with, so runs would wait for ever. Next: ray start --address=… --num-cpus=4"


def _unreachable(nodes: Sequence[Report]) -> Iterator[str]:
    """Yield which nodes lack the storage, a folder or the database."""
    if names := _names(each for each in nodes if not each["storage"]):
        place = node_environment()[STORAGE_VARIABLE]
        yield f"The storage {place} is another folder on {names}. Mount the same one at this path ({STORAGE_VARIABLE})."
    for place in sorted({place for each in nodes for place in each["missing"]}):
        names = _names(each for each in nodes if place in each["missing"])
        yield f"{place} can't be written on {names}. Mount the same folder at this path."
    if names := _names(each for each in nodes if not each["variable"]):
        yield f"{DATABASE_VARIABLE} is not set on {names}. Export it there before: ray start"
    for reason in sorted({each["database"] for each in nodes if each["database"]}):
        names = _names(each for each in nodes if each["database"] == reason)
        yield f"The database can't be reached from {names}: {printable(reason)}. Let it listen where they are."


def _names(nodes: Iterable[Report]) -> str:
    return ", ".join(each["name"] for each in nodes)


VERSIONS: Mapping[str, Callable[[Report], str]] = {
    "Assay": lambda each: f"{each['assay']} (code {each['code']})" if each["assay"] else "none",
    "Python": lambda each: str(each["python"]),
    "Ray": lambda each: str(each["ray"]),
}
"""What is the same on all machines, by the name of it: how it is read from what a machine says of itself."""


def _unlike(nodes: Sequence[Report], here: Report) -> Iterator[str]:
    """Yield who has which version of what not all have alike."""
    for what, version_of in VERSIONS.items():
        places: dict[str, list[str]] = defaultdict(list)
        for each in ({**here, "name": "this machine"}, *nodes):
            places[version_of(each)].append(each["name"])
        if len(places) > 1:
            told = "; ".join(f"{version} on {', '.join(names)}" for version, names in places.items())
            yield f"{what} differs, and so may results: {told}. Install the same everywhere, and start the nodes again."
