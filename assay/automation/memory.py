"""What automation remembers from one look to the next, as one JSON text.

Belongs here: the state and its form. Does not belong here: deciding anything.
"""

import json
from dataclasses import asdict, dataclass, field

from assay.automation.sources import SourceLook
from assay.files import canonical_json


@dataclass(frozen=True)
class SeenFile:
    """A spec file as it was last looked at.

    Attributes:
        mtime_ns: Modification time, in ns.
        size: In bytes.
        digest: Of the resolved spec when it was last valid; empty before.
        source: The user's own file or folder that the experiment reads; empty if none.
    """

    mtime_ns: int
    size: int
    digest: str = ""
    source: str = ""

    @property
    def stamp(self) -> tuple[int, int]:
        """Another stamp, another save."""
        return self.mtime_ns, self.size


@dataclass
class Memory:
    """The state of the reconciliation.

    Attributes:
        files: Every spec file, by experiment ID.
        dirty: Experiments to compare with what was recorded.
        asked: What was last asked for, by ID, until it is seen to be there: the same is not asked for twice.
        missing: IDs whose file was gone at the last look.
        invalid: IDs whose file could not be used at the last look.
        sources: The users' data, by path.
        code: Hash of the code that made the last plan.
    """

    files: dict[str, SeenFile] = field(default_factory=dict)
    dirty: set[str] = field(default_factory=set)
    asked: dict[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=set)
    invalid: set[str] = field(default_factory=set)
    sources: dict[str, SourceLook] = field(default_factory=dict)
    code: str = ""

    def dump(self) -> str:
        """Return the state as text."""
        values = asdict(self)
        values["files"] = {name: list(asdict(seen).values()) for name, seen in self.files.items()}
        sets = {name: sorted(getattr(self, name)) for name in ("dirty", "missing", "invalid")}
        return canonical_json(values | sets)


def load_memory(text: str | None) -> Memory:
    """Return the state from its text; a new one from none."""
    if not text:
        return Memory()
    values = json.loads(text)
    return Memory(
        files={name: SeenFile(*seen) for name, seen in values["files"].items()},
        dirty=set(values["dirty"]),
        asked=values["asked"],
        missing=set(values["missing"]),
        invalid=set(values["invalid"]),
        sources={path: SourceLook(**look) for path, look in values["sources"].items()},
        code=values["code"],
    )
