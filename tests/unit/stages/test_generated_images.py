"""Sources: built-in kinds, and those of installed packages."""

import pytest

from assay.errors import DataError, SpecError
from assay.pipeline import stage_config
from assay.spec.loading import spec_from
from assay.stages.generated_images import build_source, check_source, content_digest
from tests.helpers.annotated_data import BUILDERS, make_coco, make_masks, make_yolo

ADDED = """
from typing import Literal
from assay.spec.base import Section
from assay.spec.generated_images import SourceKind

class Constant(Section):
    kind: Literal["constant"] = "constant"
    value: int = 3

def build(source, seed, folder, progress):
    (folder / "value.txt").write_text(f"{source.value} {seed}")
    return {"value": source.value}

def digest(source, cache):
    return f"digest of {source.value}"

THING = SourceKind(Constant, "added_source:build", "added_source:digest")
"""


@pytest.fixture
def added(install_package):
    install_package("assay.sources", "constant", "added_source:THING", added_source=ADDED)


def part_of(**source):
    spec = spec_from({"task": "regression", "generated_images": {"source": source}}, "x")
    return stage_config(spec, "ab12", "generated_images")


def test_an_installed_package_adds_a_source(added, tmp_path):
    part = part_of(kind="constant", value=5)
    folder = tmp_path / "result"
    folder.mkdir()
    assert build_source(part, folder) == {"value": 5}
    assert (folder / "value.txt").read_text() == "5 42"
    assert content_digest(part, tmp_path) == "digest of 5"
    assert part.digest != part_of(kind="constant", value=6).digest


def test_a_wrong_key_of_an_added_source_is_refused(added):
    with pytest.raises(SpecError, match="valeu"):
        part_of(kind="constant", valeu=5)


def test_an_unknown_kind_is_refused_with_the_choices():
    with pytest.raises(SpecError, match="expected one of numbers, image_folder, coco, yolo, masks, table"):
        part_of(kind="constant")


def test_generated_data_have_no_digest_but_the_users_photos_have(tmp_path):
    from PIL import Image

    assert content_digest(part_of(kind="numbers"), tmp_path) == ""
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (300, 300), (1, 2, 3)).save(photos / "a.png")
    first = content_digest(part_of(kind="numbers", background_folder=str(photos)), tmp_path)
    Image.new("RGB", (300, 300), (9, 2, 3)).save(photos / "a.png")
    assert first != content_digest(part_of(kind="numbers", background_folder=str(photos)), tmp_path) != ""


@pytest.mark.parametrize(("kind", "make"), [("coco", make_coco), ("yolo", make_yolo), ("masks", make_masks)])
def test_annotated_data_are_checked_without_opening_an_image(tmp_path, kind, make):
    root = tmp_path / "data"
    make(root, 4)
    for file in root.rglob("*.png"):
        file.write_bytes(b"is for the stage to find")
    source = BUILDERS[kind][0](path=str(root))
    assert check_source(source) == []
    for file in root.rglob("i00.png"):
        file.unlink()
    if kind == "masks":
        (root / "masks" / "i00.png").write_bytes(b"")
    with pytest.raises(DataError, match="i00"):
        check_source(source)


def test_generated_and_added_data_have_nothing_to_check(added):
    assert check_source(part_of(kind="numbers").section.source) == []
    assert check_source(part_of(kind="constant").section.source) == []
