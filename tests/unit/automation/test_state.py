"""The state between two looks."""

import os
import time

from assay.automation.state import Memory, MemoryFiles, SeenFile, SourceLook, load_memory


def test_the_state_survives_its_text_form():
    memory = Memory(
        files={"one": SeenFile(123, 4, "abc", "/data"), "two": SeenFile(5, 6)},
        dirty={"two"},
        asked={"one": "d"},
        missing={"one"},
        invalid={"two"},
        sources={"/data": SourceLook("s", 1.5, 0.25)},
        code="c",
    )
    assert load_memory(memory.dump()) == memory


def test_no_text_is_a_new_state():
    assert load_memory(None) == Memory()


def test_a_state_counts_only_when_its_name_was_taken(tmp_path):
    states = MemoryFiles(tmp_path / "states")
    first = states.store(Memory(dirty={"one"}))
    second = states.store(Memory(dirty={"two"}))
    assert states.load(first) == Memory(dirty={"one"})
    assert states.load(second) == Memory(dirty={"two"})
    assert states.store(Memory(dirty={"two"})) == second
    assert states.load("gone") == states.load(None) == Memory()


def test_states_of_days_ago_are_removed_and_the_one_in_use_never(tmp_path):
    states = MemoryFiles(tmp_path)
    old, used = states.store(Memory(code="old")), states.store(Memory(code="used"))
    long_ago = time.time() - 100_000
    for name in (old, used):
        os.utime(tmp_path / f"{name}.json", (long_ago, long_ago))
    states.store(Memory(code="used"))
    assert [path.stem for path in tmp_path.glob("*.json")] == [used]
