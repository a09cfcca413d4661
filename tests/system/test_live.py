"""A training tells the web UI how it goes while it runs, and after a kill where it goes on."""

import signal

import pytest

from tests.helpers.projects import TINY
from tests.helpers.servers import wait_until

pytestmark = pytest.mark.system

LONG = TINY.replace("{epochs: 2}", "{epochs: 100000, checkpoint_every_s: 1}")

OBSERVED = """query {
  runsOrError { ... on Runs { results { runId status } } }
  assetOrError(assetKey: {path: ["trained_model"]}) { ... on Asset { assetObservations(limit: 5) {
    partition runId metadataEntries { label ... on FloatMetadataEntry { floatValue } }
  } } }
}"""

LOG = """query($run: ID!) { logsForRun(runId: $run, limit: 1000) { ... on EventConnection {
  events { ... on MessageEvent { message } } } } }"""


def observations(servers):
    return servers.graphql(OBSERVED)["assetOrError"].get("assetObservations")


def messages(servers):
    run = servers.graphql(OBSERVED)["runsOrError"]["results"][0]["runId"]
    return " ".join(event.get("message", "") for event in servers.graphql(LOG, run=run)["logsForRun"]["events"])


def test_the_asset_shows_loss_speed_and_time_left_while_it_is_trained(project, servers):
    servers.start_webserver()
    project.write("long", LONG)
    process = project.start("assay", "run", "long")
    newest = wait_until(lambda: observations(servers), "the training is observed")[0]
    assert newest["partition"] == "long"
    values = {entry["label"]: entry["floatValue"] for entry in newest["metadataEntries"]}
    assert {"loss", "validation_mae", "epoch", "items_per_s", "seconds_left"} <= set(values)
    assert values["seconds_left"] > 0
    assert [run["status"] for run in servers.graphql(OBSERVED)["runsOrError"]["results"]] == ["STARTED"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process = project.start("assay", "run", "long")
    wait_until(lambda: "The training goes on after step" in messages(servers), "the run log says where it goes on")
    process.send_signal(signal.SIGKILL)
    process.wait()
