"""The state between two passes."""

import os
import time

from assay.automation.state import AutomationState, SeenFile, SourceSnapshot, StateFiles, load_state


def test_the_state_survives_its_text_form():
    state = AutomationState(
        files={"one": SeenFile(123, 4, "abc", "/data"), "two": SeenFile(5, 6)},
        dirty={"two"},
        asked={"one": "d"},
        missing={"one"},
        invalid={"two"},
        sources={"/data": SourceSnapshot("s", 1.5, 0.25)},
        code="c",
    )
    assert load_state(state.dump()) == state


def test_without_text_the_state_is_empty():
    assert load_state(None) == AutomationState()


def test_a_state_is_current_only_once_its_name_was_stored(tmp_path):
    states = StateFiles(tmp_path / "states")
    first = states.store(AutomationState(dirty={"one"}))
    second = states.store(AutomationState(dirty={"two"}))
    assert states.load(first) == AutomationState(dirty={"one"})
    assert states.load(second) == AutomationState(dirty={"two"})
    assert states.store(AutomationState(dirty={"two"})) == second
    assert states.load("gone") == states.load(None) == AutomationState()


def test_old_states_are_removed_but_never_the_current_one(tmp_path):
    states = StateFiles(tmp_path)
    old, used = states.store(AutomationState(code="old")), states.store(AutomationState(code="used"))
    long_ago = time.time() - 100_000
    for name in (old, used):
        os.utime(tmp_path / f"{name}.json", (long_ago, long_ago))
    states.store(AutomationState(code="used"))
    assert [path.stem for path in tmp_path.glob("*.json")] == [used]
