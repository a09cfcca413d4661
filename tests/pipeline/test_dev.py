"""What ``make dev`` shows of all that Dagster says, which port it takes, and which pictures its server has."""

import io
import socket

import dagster as dg
import pytest
from PIL import Image
from starlette.requests import Request

from assay.backfills.dagster_server import claimed_address, running_url
from assay.errors import ServerError
from assay.experiments.last_run import FAILURE_TAG, PARTITION_TAG
from assay.storage.files import write_json, write_text
from resources.instance.web import Errors, Failures, free_port, picture_of, report_page_of

DAEMON = "\x1b[32m2026-11-26 14:16:14 +0000\x1b[0m - dagster.daemon.SensorDaemon - \x1b[{color}m{level}\x1b[0m - {text}"
SENSOR = "2026-11-26 14:16:15 +0000 - dagster - {level} - __repository__ - experiment_files - {text}"
TRACE = """\
Traceback (most recent call last):
  File "/lib/daemon.py", line 1, in run
    tick()
dagster.SensorError: Error in the sensor

The above exception was caused by the following exception:
ZeroDivisionError: division by zero

Stack Trace:
  File "/lib/daemon.py", line 2, in tick
    1 / 0"""


def shown(*lines):
    errors = Errors()
    return [text for line in "\n".join(lines).splitlines() for text in errors.shown(f"{line}\n")]


def test_chatter_and_warnings_of_libraries_are_not_shown():
    assert not shown(
        "/lib/click/core.py:911: SupersessionWarning: Function `dev_command` is superseded.",
        "  return callback(*args, **kwargs)",
        DAEMON.format(color=34, level="INFO", text="Checking for new runs for sensor: warehouse"),
        DAEMON.format(color=33, level="WARNING", text="No cursor for event type RUN_FAILURE"),
        SENSOR.format(level="INFO", text="Prefetching asset records for 15 records."),
    )


def test_what_is_wrong_with_a_file_is_shown_with_all_its_lines():
    problem = "a.yaml: task: is missing.\na.yaml: sed: unknown key. Did you mean 'seed'?"
    assert shown(
        SENSOR.format(level="ERROR", text=problem), SENSOR.format(level="INFO", text="Done prefetching asset records.")
    ) == ["14:16:15 a.yaml: task: is missing.", "a.yaml: sed: unknown key. Did you mean 'seed'?"]


def test_an_error_of_the_daemon_is_shown_without_its_trace():
    assert shown(DAEMON.format(color=31, level="ERROR", text="Sensor daemon caught an error"), TRACE) == [
        "14:16:14 Sensor daemon caught an error",
        "dagster.SensorError: Error in the sensor",
        "ZeroDivisionError: division by zero",
    ]


@pytest.mark.system
def test_a_failed_run_of_automation_is_told_once_with_reason_and_next_step_and_no_other(tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:

        def fail(name, **tags):
            run = dg.DagsterRun(job_name="job_experiment", run_id=name, status=dg.DagsterRunStatus.STARTED)
            run = run.with_tags({PARTITION_TAG: name, **{f"dagster/{key}": value for key, value in tags.items()}})
            instance.add_run(run)
            instance.add_run_tags(name, {FAILURE_TAG: f"Experiment {name}, splits: too few rows."})
            instance.report_run_failed(run)

        failures = Failures(tmp_path, pause_s=0.0)
        assert list(failures.new()) == []
        fail("one", sensor_name="follow_files", run_key="one:1:abc")
        fail("broken", sensor_name="follow_files", run_key="broken:file:7")
        fail("by-hand")
        (line,) = failures.new()
        assert line.endswith(" one failed: Experiment one, splits: too few rows. Next: assay show one")
        assert list(failures.new()) == []
        assert list(Failures(tmp_path, pause_s=0.0).new()) == []


def test_of_a_trace_that_nobody_logged_the_error_is_shown():
    assert shown("Exception in thread Thread-1:", TRACE, "and so on")[:1] == [
        "dagster.SensorError: Error in the sensor"
    ]


def test_the_same_error_is_shown_once_in_a_row():
    first, second = (SENSOR.format(level="ERROR", text=text) for text in ("a.yaml is broken", "b.yaml is broken"))
    assert len(shown(first, first.replace("14:16:15", "14:16:30"), second, first)) == 3


def test_another_port_is_taken_and_said_where_one_is_used(capsys):
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        assert free_port("127.0.0.1", port) > port
        assert f"Port {port} is used by another program" in capsys.readouterr().out
    assert free_port("127.0.0.1", port) == port
    assert not capsys.readouterr().out


def test_the_address_is_known_for_as_long_as_the_server_lives(tmp_path):
    home = tmp_path / "home"
    assert running_url(home) == ""
    with claimed_address(home) as tell:
        assert running_url(home) == ""
        with pytest.raises(ServerError, match="is about to start in another terminal"), claimed_address(home):
            pass
        tell("http://127.0.0.1:3001")
        assert running_url(home) == "http://127.0.0.1:3001"
        with pytest.raises(ServerError, match=r"runs already: http://127[.]0[.]0[.]1:3001"), claimed_address(home):
            pass
    assert running_url(home) == ""


def test_an_address_that_a_killed_server_left_is_not_believed(tmp_path):
    (tmp_path / "web-server.txt").write_text("http://127.0.0.1:3001")
    assert running_url(tmp_path) == ""


FINGERPRINT = "0123456789abcdef01234567"


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Give a function that asks for a picture of a storage with one result, and returns status and size in pixels."""
    folder = tmp_path / "data" / "analysis" / FINGERPRINT
    (folder / "pictures").mkdir(parents=True)
    Image.new("RGB", (1200, 300)).save(folder / "pictures" / "errors.png")
    (folder / "pictures" / "text.png").write_text("no image")
    (folder / "pictures" / "link.png").symlink_to("/dev/zero")
    (folder / "secret.png").write_bytes((folder / "pictures" / "errors.png").read_bytes())
    (folder / "manifest.json").write_text("{}")
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path))

    def ask(name, stage="analysis", fingerprint=FINGERPRINT, query=b""):
        path = {"stage": stage, "fingerprint": fingerprint, "name": name}
        answer = picture_of(Request({"type": "http", "query_string": query, "path_params": path}))
        return answer.status_code, Image.open(io.BytesIO(answer.body)).size if answer.status_code == 200 else None

    return ask


def test_a_picture_of_a_result_is_shown_whole_or_small(ask):
    assert ask("picture/errors") == (200, (1200, 300))
    assert ask("picture/errors", query=b"small") == (200, (560, 140))


@pytest.mark.parametrize(
    "asked",
    [
        {"name": "picture/none"},
        {"name": "picture/text"},
        {"name": "picture/link"},
        {"name": "secret"},
        {"name": "../secret"},
        {"name": "picture/../../secret"},
        {"name": "picture/errors", "stage": "*"},
        {"name": "picture/errors", "stage": ".."},
        {"name": "picture/errors", "fingerprint": "*"},
        {"name": "picture/errors", "fingerprint": "0" * 24},
    ],
)
def test_nothing_but_pictures_of_results_is_shown(ask, asked):
    assert ask(**asked) == (404, None)


def test_a_report_is_shown_as_a_page_in_which_nothing_can_run(tmp_path, monkeypatch):
    monkeypatch.setenv("ASSAY_STORAGE", str(tmp_path))
    write_json(tmp_path / "experiments_index" / "ab12.json", {"run_id": "r", "folder": "experiments/REG-1"})

    def ask(name):
        return report_page_of(Request({"type": "http", "path_params": {"experiment_id": name}}))

    assert ask("ab12").status_code == 404
    write_text(tmp_path / "experiments" / "REG-1" / "report.html", "<p>the report</p>")
    answer = ask("ab12")
    assert (answer.status_code, answer.body) == (200, b"<p>the report</p>")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src data:")
    assert policy.endswith("; sandbox")
    for name in ("cd34", "../ab12", "*", ""):
        assert ask(name).status_code == 404
