"""What is used of Dagster beyond its public names: each private module in one file, so that an upgrade is a short list.

Fails when a file begins to use another one, and when a version of Dagster moves or changes what is used.
"""

import ast
import importlib
import inspect
from collections import defaultdict

import dagster as dg
import pytest
from dagster._core.storage.event_log.base import EventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.base import RunStorage

from tests.helpers.imports import ROOT, python_files, syntax_tree

PRIVATE = {
    "assets/automation.py": {"dagster._core.asset_graph_view.asset_graph_view": ["AssetGraphView"]},
    "resources/instance/cluster_runs.py": {"dagster._core.errors": ["DagsterUserCodeUnreachableError"]},
    "resources/instance/compute_logs.py": {
        "dagster._core.storage.local_compute_log_manager": ["LocalComputeLogManager"]
    },
    "resources/instance/event_log.py": {
        "dagster._core.storage.event_log.sql_event_log": ["SqlEventLogStorage"],
        "dagster._core.storage.event_log.sqlite.sqlite_event_log": ["INDEX_SHARD_NAME", "SqliteEventLogStorage"],
        "dagster._core.storage.sql": ["create_engine"],
        "dagster._core.storage.sqlite": ["SQLITE_BUSY_TIMEOUT_SECONDS"],
        "dagster._core.storage.tags": ["TAGS_TO_MAYBE_OMIT_ON_RETRY"],
    },
    "resources/instance/home.py": {
        "dagster._daemon.asset_daemon": ["get_auto_materialize_paused", "set_auto_materialize_paused"]
    },
    "resources/instance/run_launcher.py": {
        "dagster._core.launcher.base": ["CheckRunHealthResult", "LaunchRunContext", "RunLauncher", "WorkerStatus"],
        "dagster._grpc.types": ["ExecuteRunArgs"],
        "dagster._serdes": ["ConfigurableClass", "ConfigurableClassData"],
    },
    "resources/instance/run_process.py": {"dagster._core.origin": ["JobPythonOrigin"]},
    "resources/instance/run_records.py": {
        "dagster._core.definitions.data_version": ["CODE_VERSION_TAG", "DATA_VERSION_TAG"],
        "dagster._core.remote_origin": ["ManagedGrpcPythonEnvCodeLocationOrigin", "RemoteRepositoryOrigin"],
        "dagster._core.types.loadable_target_origin": ["LoadableTargetOrigin"],
    },
    "resources/instance/run_template_process.py": {
        "dagster._utils.hosted_user_process": ["recon_repository_from_origin"]
    },
    "resources/instance/run_worker.py": {"dagster._cli.api": ["execute_run_command"]},
    "resources/instance/shared_storage.py": {
        "dagster._core.storage.event_log.schema": ["ConcurrencyLimitsTable"],
    },
    "resources/instance/web.py": {"dagster._cli": ["dev"], "dagster_shared.ipc": ["open_ipc_subprocess"]},
    "resources/io_managers.py": {
        "dagster._core.storage.db_io_manager": [
            "DbIOManager",
            "DbTypeHandler",
            "TablePartitionDimension",
            "TableSlice",
        ],
        "dagster_duckdb.io_manager": ["DuckDbClient"],
    },
}
"""Names by private module, by the file that imports them."""

SIGNATURES = {
    (EventLogStorage, "get_latest_tags_by_partition"): "asset_key event_type tag_keys asset_partitions",
    (EventLogStorage, "get_latest_storage_id_by_partition"): "asset_key event_type partitions after_cursor",
    (SqliteEventLogStorage, "has_table"): "table_name",
    (SqliteEventLogStorage, "has_secondary_index"): "name",
    (SqliteEventLogStorage, "has_asset_key_col"): "column_name",
    (SqliteEventLogStorage, "_has_asset_key_col_on_connection"): "conn column_name",
    (SqliteEventLogStorage, "has_dynamic_partition"): "partitions_def_name partition_key",
    (SqliteEventLogStorage, "delete_dynamic_partition"): "partitions_def_name partition_key",
    (EventLogStorage, "claim_concurrency_slot"): "concurrency_key run_id step_key priority",
    (EventLogStorage, "get_concurrency_info"): "concurrency_key",
    (EventLogStorage, "initialize_concurrency_limit_to_default"): "concurrency_key",
    (EventLogStorage, "free_concurrency_slots_for_run"): "run_id",
    (RunStorage, "replace_job_origin"): "run job_origin",
    (dg.DagsterInstance, "all_instigator_state"): "repository_origin_id repository_selector_id instigator_type",
    (dg.DagsterInstance, "add_instigator_state"): "state",
    (dg.DagsterInstance, "delete_instigator_state"): "origin_id selector_id",
}
"""Undocumented methods of public objects, with the beginning of their parameters."""


def is_private(module):
    parts = module.split(".")
    return parts[0].startswith("dagster") and (
        any(part.startswith("_") for part in parts)
        or parts[0] == "dagster_shared"
        or module == "dagster_duckdb.io_manager"
    )


def test_each_private_module_is_imported_in_one_file_as_listed():
    found = defaultdict(dict)
    for path in python_files():
        for node in ast.walk(syntax_tree(path)):
            if isinstance(node, ast.ImportFrom) and is_private(node.module):
                found[path.relative_to(ROOT).as_posix()][node.module] = sorted(alias.name for alias in node.names)
            if isinstance(node, ast.Import):
                assert not any(is_private(alias.name) for alias in node.names), path
    assert found == PRIVATE
    modules = [module for names in PRIVATE.values() for module in names]
    assert len(modules) == len(set(modules))


@pytest.mark.parametrize("file", PRIVATE)
def test_what_is_private_is_still_where_it_was(file):
    for module, names in PRIVATE[file].items():
        for name in names:
            assert hasattr(importlib.import_module(module), name), f"{module}.{name}"


@pytest.mark.parametrize(("owner", "method"), SIGNATURES)
def test_undocumented_methods_still_take_what_they_are_given(owner, method):
    parameters = list(inspect.signature(getattr(owner, method)).parameters)[1:]
    assert " ".join(parameters).startswith(SIGNATURES[owner, method])
