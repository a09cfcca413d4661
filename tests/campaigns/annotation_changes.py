"""What may be wrong or odd about annotated images: the changes that the campaign ``annotations`` makes.

Each change gets the folder of the data, random numbers, and the boxes that are expected of each image, which it adapts
where it changes what is true.
"""

import json
import os
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from assay.datasets.annotations import MOST_OBJECTS
from tests.helpers.annotated_data import OBJECT, SIDE, make_coco, make_masks, make_yolo, names

COUNT = 4

Random = np.random.Generator
Expected = dict[str, list[tuple[int, ...]]]


# COCO


def _make_coco(root: Path, seed: int, rng: Random) -> None:
    make_coco(root, COUNT, seed, outlines=rng.random() < 0.6)


def _change_json(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = root / "instances.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _deep(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


ODD_VALUES: list[Any] = [
    *(None, True, False, "text", "", [], {}, [None], {"a": 1}, "\ud800", "a\0b", "x" * 10_000, _deep(50), _deep(400)),
    *(10**400, -(10**400), 10**18, float("nan"), float("inf"), float("-inf"), 1e300, 2**63, 2**31),
]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return container and key of every value in a JSON value."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in [(value, key), *_places(value[key])]]


def _odd_value(root: Path, rng: Random, expected: Expected) -> None:
    """Replace one value, of whatever kind and wherever it is."""

    def change(content: dict[str, Any]) -> None:
        places = _places(content)
        container, key = places[int(rng.integers(len(places)))]
        value = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
        if isinstance(container[key], (int, float)) and rng.random() < 0.3:
            value = [str(container[key]), float(container[key])][int(rng.integers(2))]
        if container is not content or key != "annotations" or value != []:
            container[key] = value
        _expect_listed(content, expected)

    _change_json(root, change)


def _deleted(root: Path, rng: Random, expected: Expected) -> None:
    """Delete one key or entry."""

    def change(content: dict[str, Any]) -> None:
        places = _places(content)
        container, key = places[int(rng.integers(len(places)))]
        del container[key]
        _expect_listed(content, expected)

    _change_json(root, change)


def _expect_listed(content: dict[str, Any], expected: Expected) -> None:
    """Expect nothing in an image whose entry of an annotation is gone: it is known to be empty then."""
    entries = content.get("annotations")
    if isinstance(entries, list) and len(entries) < COUNT:
        kept = {entry.get("image_id") for entry in entries if isinstance(entry, dict)}
        for number, name in enumerate(names(COUNT), 1):
            if number not in kept:
                expected[name] = []


def _other_unit(root: Path, rng: Random, expected: Expected) -> None:
    """Write all boxes as corners, centres or shares, with or without outlines."""
    outlines = rng.random() < 0.6
    units = [
        lambda x, y, w, h: [x, y, x + w, y + h],
        lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
        lambda x, y, w, h: [x / SIDE, y / SIDE, w / SIDE, h / SIDE],
        lambda x, y, w, h: [(x + w / 2) / SIDE, (y + h / 2) / SIDE, w / SIDE, h / SIDE],
    ]
    unit = units[int(rng.integers(len(units)))] if outlines else units[[0, 2, 3][int(rng.integers(3))]]

    def change(content: dict[str, Any]) -> None:
        for entry in content["annotations"]:
            entry["bbox"] = unit(*entry["bbox"])
            if not outlines:
                entry["segmentation"] = []
            elif not entry["segmentation"]:
                x, y = expected[names(COUNT)[entry["image_id"] - 1]][0][:2]
                entry["segmentation"] = [[x, y, x + OBJECT, y, x + OBJECT, y + OBJECT, x, y + OBJECT]]

    _change_json(root, change)


def _bad_outline(root: Path, rng: Random, expected: Expected) -> None:
    choices: list[Any] = [
        [[]],
        [[1, 2]],
        [[1, 2, 3, 4, 5]],
        [[500, 500, 520, 500, 520, 520]],
        [[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]],
        [[float("nan")] * 6],
        {"size": [SIDE, SIDE], "counts": [SIDE * SIDE]},
        {"size": [SIDE, SIDE], "counts": [2**64]},
        {"size": [SIDE, SIDE], "counts": "oooo"},
        {"size": [2**31, 2**31], "counts": [2**62]},
        {"size": "no", "counts": 3},
        {},
    ]
    choice = choices[int(rng.integers(len(choices)))]

    def change(content: dict[str, Any]) -> None:
        content["annotations"][int(rng.integers(COUNT))]["segmentation"] = choice

    _change_json(root, change)


def _repeated(root: Path, rng: Random, expected: Expected) -> None:
    """Repeat IDs, entries, images or categories."""
    key = ["annotations", "images", "categories"][int(rng.integers(3))]

    def change(content: dict[str, Any]) -> None:
        if rng.random() < 0.5:
            content[key].append(dict(content[key][0]))
        else:
            for entry in content[key]:
                entry["id"] = 1

    _change_json(root, change)


def _respelled(root: Path, rng: Random, expected: Expected) -> None:
    """Spell the names of images otherwise."""
    spellings = [
        lambda name: f"images\\{name}",
        lambda name: f"../images/{name}",
        lambda name: f"../../data/images/{name}",
        lambda name: str(root / "images" / name),
        lambda name: f"/elsewhere/{name}",
        lambda name: f"C:\\data\\{name}",
        str.upper,
        lambda name: name.replace("i", "%69"),
        lambda name: name + " ",
    ]
    spell = spellings[int(rng.integers(len(spellings)))]

    def change(content: dict[str, Any]) -> None:
        for entry in content["images"]:
            entry["file_name"] = spell(entry["file_name"])

    _change_json(root, change)


def _ids_as_texts(root: Path, rng: Random, expected: Expected) -> None:
    """Write some kinds of IDs as texts, here or there."""
    keys = [key for key in ("image_id", "category_id") if rng.random() < 0.6] or ["category_id"]

    def change(content: dict[str, Any]) -> None:
        for entry in content["annotations"]:
            entry.update({key: str(entry[key]) for key in keys})

    _change_json(root, change)


def _root_category(root: Path, rng: Random, expected: Expected) -> None:
    def change(content: dict[str, Any]) -> None:
        name = ["group", "box"][int(rng.integers(2))]
        content["categories"][0]["supercategory"] = name
        content["categories"].insert(0, {"id": 0, "name": name, "supercategory": "none"})

    _change_json(root, change)


def _broken_text(root: Path, rng: Random, expected: Expected) -> None:
    """Cut, overwrite or encode the JSON file otherwise."""
    path = root / "instances.json"
    content = path.read_bytes()
    place = int(rng.integers(len(content)))
    choices = [
        content[:place],
        content[:place] + b'\x00\xff{["'[int(rng.integers(5)) :][:1] + content[place + 1 :],
        content.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + content,
        content.replace(b'"id": 1,', b'"id": 1, "x": ' + b"[" * 100_000 + b","),
        content.replace(b'"id": 1,', b'"id": 1, "x": ' + b"7" * 6000 + b","),
        b"[" * 500_000,
        b"",
        b"null",
    ]
    path.write_bytes(choices[int(rng.integers(len(choices)))])


# YOLO

IMAGES = ("images", "images/train", "images", "Images", "train/images", "x")
LABELS = ("labels", "labels/train", "images", "Labels", "train/labels", "x")


def _make_yolo(root: Path, seed: int, rng: Random) -> None:
    layout = int(rng.integers(len(IMAGES)))
    make_yolo(root, COUNT, seed, IMAGES[layout], LABELS[layout], outlines=rng.random() < 0.4)


def _labels(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.txt") if path.name[0] == "i")


def _one_label(root: Path, rng: Random) -> Path:
    files = _labels(root)
    return files[int(rng.integers(len(files)))]


WORDS = ["nan", "inf", "-1e999", "1e999", "cat", "", "0x10", "9" * 5000, "0,5", "64", "-3", "\u0663\u0665", "1.5"]


def _odd_word(root: Path, rng: Random, expected: Expected) -> None:
    """Replace, add or remove one word of one line."""
    path = _one_label(root, rng)
    words = path.read_text().split()
    place = int(rng.integers(len(words)))
    word = WORDS[int(rng.integers(len(WORDS)))]
    # Without two words of a polygon, what is left is a polygon.
    words[place : place + 1] = [[word], [words[place], word], []][int(rng.integers(3))]
    path.write_text(" ".join(words) + "\n")
    if not "".join(words):
        expected[path.stem + ".png"] = []


def _odd_lines(root: Path, rng: Random, expected: Expected) -> None:
    """Encode, repeat or multiply the lines of one file."""
    path = _one_label(root, rng)
    text = path.read_text()
    choices: list[bytes] = [
        text.encode("utf-16"),
        b"\xef\xbb\xbf" + text.encode(),
        text.replace("\n", "\r\n").encode(),
        (text * 3).encode(),
        text.replace(" ", "\t").encode(),
        b"\xff\xfe" + text.encode(),
        text.encode() + b"\x00",
        text.encode() * (MOST_OBJECTS + 1),
        ("0 " + "0.5 " * 300_000).encode(),
        text.replace(" ", ",").encode(),
    ]
    path.write_bytes(choices[int(rng.integers(len(choices)))])


def _pixels(root: Path, rng: Random, expected: Expected) -> None:
    for path in _labels(root):
        number, *words = path.read_text().split()
        path.write_text(" ".join([number, *(f"{float(word) * SIDE:.1f}" for word in words)]) + "\n")


def _pose(root: Path, rng: Random, expected: Expected) -> None:
    """Add key points to all boxes; data.yaml may say so."""
    count, dimensions = int(rng.integers(1, 18)), int(rng.integers(2, 4))
    for path in _labels(root):
        left, top = expected[path.stem + ".png"][0][:2]
        points = np.array([left, top]) + rng.uniform(0, OBJECT, (count, 2))
        words = [f"{value:.5f}" for x, y in points / SIDE for value in (x, y, 0.0)[:dimensions]]
        flags = rng.integers(0, 2, count)
        words = [
            f"{flags[place // 3]}" if dimensions == 3 and place % 3 == 2 else word for place, word in enumerate(words)
        ]
        box = ((left + OBJECT / 2) / SIDE, (top + OBJECT / 2) / SIDE, OBJECT / SIDE, OBJECT / SIDE)
        path.write_text(" ".join(["0", *(f"{value:.6f}" for value in box), *words]) + "\n")
    if rng.random() < 0.5:
        config = root / "data.yaml"
        config.write_text(config.read_text() + f"kpt_shape: [{count}, {dimensions}]\n")


def _moved_label(root: Path, rng: Random, expected: Expected) -> None:
    """Move or rename one label file, or delete it: an image without one is known to be empty."""
    path = _one_label(root, rng)
    choice = int(rng.integers(5))
    if choice == 0:
        path.rename(path.with_name(path.name.upper()))
    elif choice == 1:
        path.rename(path.with_suffix(".TXT"))
    elif choice == 2:
        (root / "elsewhere").mkdir()
        path.rename(root / "elsewhere" / path.name)
    elif choice == 3:
        path.rename(path.with_name("other.txt"))
        expected[path.stem + ".png"] = []
    else:
        path.unlink()
        expected[path.stem + ".png"] = []


KEYS_OF_CONFIG = (
    *("train: gone", "nc: 7", "kpt_shape: [a, 2]", "kpt_shape: [1000000000, 3]", "path: /elsewhere", "path: ~nobody/x"),
    *("path: [a]", 'path: "a\\0b"', "train: {a: b}", f"train: {'x' * 5000}"),
)
CONFIGS = [
    *(f"names: {names}\n" for names in ("[box, box]", "[[box]]", "{0: null}", "{1: box}", "3")),
    *(f"names: [box]\n{key}\n" for key in KEYS_OF_CONFIG),
    *("\x00", "", "- a\n"),
]


def _odd_config(root: Path, rng: Random, expected: Expected) -> None:
    """Change data.yaml; where it is still valid, all is read as before."""
    config = root / "data.yaml"
    train = config.read_text().splitlines()[1]
    text = CONFIGS[int(rng.integers(len(CONFIGS)))]
    config.write_text(text if "train" in text else f"{text}{train}\n")


def _renamed_config(root: Path, rng: Random, expected: Expected) -> None:
    (root / "data.yaml").rename(root / ["coco128.yaml", "classes.txt", "data.yml"][int(rng.integers(3))])


def _darknet(root: Path, rng: Random, expected: Expected) -> None:
    """Say with obj.data, obj.names and lists what data.yaml said, with paths as another program had them."""
    (root / "data.yaml").unlink()
    (root / "obj.names").write_text("box\n")
    prefix = ["", "data/", "/content/darknet/", "./"][int(rng.integers(4))]
    images = sorted(path.relative_to(root).as_posix() for path in (root / "images").rglob("*.png"))
    (root / "train.txt").write_text("\n".join(f"{prefix}{name}" for name in images))
    (root / "obj.data").write_text(f"classes = 1\ntrain = {prefix}train.txt\nnames = {prefix}obj.names\n")


def _upper_case_endings(root: Path, rng: Random, expected: Expected) -> None:
    for path in _labels(root):
        path.rename(path.with_suffix(".TXT"))


def _backslashes(root: Path, rng: Random, expected: Expected) -> None:
    config = root / "data.yaml"
    config.write_text(config.read_text().replace("/", "\\"))


# Masks


def _masks(root: Path) -> list[Path]:
    return sorted((root / "masks").iterdir())


def _smoothed(root: Path, rng: Random, expected: Expected) -> None:
    """Smooth all masks, or reduce and enlarge them."""
    radius, way = float(rng.uniform(0.5, 2.0)), int(rng.integers(3))
    for path in _masks(root):
        with Image.open(path) as image:
            mask = image.point(lambda value: 200 if value else 0)
        if way == 0:
            mask = mask.filter(ImageFilter.GaussianBlur(radius))
        elif way == 1:
            mask = mask.resize((23, 23), Image.Resampling.BILINEAR).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        else:
            mask = mask.rotate(float(rng.uniform(5, 85)), Image.Resampling.BICUBIC)
        mask.save(path)


def _other_form(root: Path, rng: Random, expected: Expected) -> None:
    """Save one or all masks in another form."""
    paths = _masks(root)
    forms: list[tuple[str, str]] = [
        *(
            ("RGB", ".png"),
            ("1", ".png"),
            ("F", ".tiff"),
            ("CMYK", ".tiff"),
            ("L", ".jpg"),
            ("L", ".bmp"),
            ("P", ".gif"),
        ),
        *(("RGBA", ".png"), ("I;16", ".png"), ("LA", ".png")),
    ]
    mode, ending = forms[int(rng.integers(len(forms)))]
    for path in paths[: [1, COUNT][int(rng.integers(2))]]:
        with Image.open(path) as image:
            pixels = np.asarray(image)
        path.unlink()
        if mode in ("I;16", "1"):
            other = pixels.astype(np.uint16) if mode == "I;16" else pixels > 0
            Image.fromarray(other).save(path.with_suffix(ending))
        elif mode == "P":
            paletted = Image.frombytes("P", pixels.shape[::-1], pixels.tobytes())
            paletted.putpalette(list(range(256)) * 3)
            paletted.save(path.with_suffix(ending))
        else:
            Image.fromarray(pixels).convert(mode).save(path.with_suffix(ending))


def _other_size(root: Path, rng: Random, expected: Expected) -> None:
    path = _masks(root)[0]
    with Image.open(path) as image:
        image.resize((SIDE // 2, SIDE // 2), Image.Resampling.NEAREST).save(path)


def _renamed_mask(root: Path, rng: Random, expected: Expected) -> None:
    path = _masks(root)[0]
    path.rename(path.with_name([path.name.upper(), "other.png", path.stem + ".txt"][int(rng.integers(3))]))


def _huge_mask(root: Path, rng: Random, expected: Expected) -> None:
    Image.new("1", (9_000, 9_000)).save(_masks(root)[0])


# Any file


def _odd_file(root: Path, rng: Random, expected: Expected) -> None:
    """Put something else in the place of one file."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    path = files[int(rng.integers(len(files)))]
    content = path.read_bytes() if path.stat().st_size < 2**20 else b""  # another change may have made it huge
    path.unlink()
    choice = int(rng.integers(9))
    if choice == 0:
        os.mkfifo(path)
    elif choice == 1:
        path.symlink_to("/dev/zero")
    elif choice == 2:
        path.symlink_to(path.name)
    elif choice == 3:
        path.symlink_to("gone")
    elif choice == 4:
        path.mkdir()
    elif choice == 5:
        with path.open("wb") as file:
            file.truncate(2**42)
    elif choice == 6:
        path.write_bytes(rng.bytes(100))
    elif choice == 7:
        # Half of a polygon's line is a box, of which nobody can know that it is none.
        path.write_bytes(content[: len(content) // 2] if path.suffix.lower() not in (".txt", ".yaml") else b"\xff")
    else:
        path.symlink_to("/dev/null")


def _stray_files(root: Path, rng: Random, expected: Expected) -> None:
    """Add what operating systems and tools leave behind."""
    folders = sorted({path.parent for path in root.rglob("*") if path.is_file()})
    folder = folders[int(rng.integers(len(folders)))]
    for name in ("._i00.png", ".DS_Store", "Thumbs.db", "notes.md", "._instances.json"):
        (folder / name).write_bytes(b"\x00\x05\x16\x07")
    with suppress(FileExistsError):
        (folder / "loop").symlink_to(folder, target_is_directory=True)


def _decomposed(root: Path, rng: Random, expected: Expected) -> None:
    """Give files composed names in one folder and decomposed ones in another, as archives from macOS do."""
    for path in sorted(path for path in root.rglob("i0*") if path.is_file()):
        form = "NFC" if path.suffix == ".png" and "mask" not in path.parent.name else "NFD"
        path.rename(path.with_name(unicodedata.normalize(form, f"\u00e9{path.name}")))
    json_file = root / "instances.json"
    if json_file.is_file():
        text = json_file.read_text()
        json_file.write_text(text.replace('"i0', '"e\\u0301i0'))
    for name in names(COUNT):
        expected[f"\u00e9{name}"] = expected.pop(name)


FILES = [_odd_file, _stray_files]
ANY = [_odd_file, _stray_files, _decomposed]
COCO = [
    *(_odd_value, _odd_value, _odd_value, _deleted, _other_unit, _bad_outline, _repeated, _respelled, _root_category),
    *(_ids_as_texts, _broken_text, *ANY),
]
YOLO = [
    *(_odd_word, _odd_word, _odd_lines, _pixels, _pose, _moved_label, _odd_config, _renamed_config, _backslashes),
    *(_darknet, _upper_case_endings),
    *ANY,
]
MASKS = [_smoothed, _other_form, _other_size, _renamed_mask, _huge_mask, *ANY]
MAKERS = {
    "coco": _make_coco,
    "yolo": _make_yolo,
    "masks": lambda root, seed, rng: make_masks(root, COUNT, seed, [1, 200][seed % 2]),
}
