"""The state between two looks."""

from assay.automation.memory import Memory, SeenFile, load_memory
from assay.automation.sources import SourceLook


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
