"""Tiny sets in the generic layouts: class folders, UniBind's lists, a CSV."""

import json
from pathlib import Path
from typing import Any

from ironbind.data import load_dataset
from ironbind.data.export_files import export
from layouts.tiny_pictures import picture
from layouts.tiny_sounds import sound, table, text


def folder(root: Path) -> dict[str, Any]:
    export(load_dataset("world", n=10), root, modalities=["image", "audio"])
    return {}


def unibind_json(root: Path) -> dict[str, Any]:
    entries = []
    for number, label in enumerate(["guinea_pig", "cat", "guinea_pig", "cat"]):
        picture(root / "test_dataset" / f"{label}_{number}.png", "png", number)
        entries.append({"data": f"{label}_{number}.png", "label": label})
    text(root / "test_data.json", json.dumps(entries))
    return {"modality": "image"}


def csv(root: Path) -> dict[str, Any]:
    rows = []
    for number, label in enumerate(["guinea pig", "cat", "guinea pig", "cat"]):
        picture(root / "pictures" / f"{number}.png", "png", number)
        sound(root / "sounds" / f"{number}.wav", number)
        rows.append(
            (
                f"no-{number}",
                f"pictures/{number}.png",
                f"sounds/{number}.wav",
                label,
                f"a small, round animal, the {number}th",
            )
        )
    table(root / "pets.csv", [("id", "image", "audio", "label", "caption"), *rows])
    return {}


EXAMPLES = {"folder": folder, "unibind_json": unibind_json, "csv": csv}
