"""Tiny sets in the formats of webdataset and of the `datasets` library, byte for byte of the kind that those libraries
write; and what is kept of a task of mteb.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from layouts.tiny_pictures import encoded
from layouts.tiny_sounds import text


def shard(path: Path, samples: Sequence[dict[str, bytes]], first: int = 0) -> Path:
    """One tar: the members of a sample are called by its number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number, sample in enumerate(samples, start=first):
            for kind, content in sample.items():
                member = tarfile.TarInfo(f"{number:06d}.{kind}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return path


def pets(count: int, first: int = 0) -> list[dict[str, bytes]]:
    return [
        {
            "png": encoded("png", first + i), "cls": str((first + i) % 2).encode(),
            "txt": f"animal no {first + i}".encode(),
            "json": json.dumps({"species": ["guinea_pig", "cat"][(first + i) % 2]}).encode(),
        }
        for i in range(count)
    ]  # fmt: skip


def webdataset(root: Path) -> dict[str, Any]:
    shard(root / "pets-000000.tar", pets(4))
    text(root / "classnames.txt", "guinea pig\ncat\n")
    return {}


FEATURES = {
    "image": {"_type": "Image"}, "label": {"names": ["guinea_pig", "cat"], "_type": "ClassLabel"},
    "caption": {"dtype": "string", "_type": "Value"},
}  # fmt: skip


def rows(count: int, first: int = 0, features: dict[str, Any] = FEATURES) -> pa.Table:
    """Rows as `datasets` stores them, with its description of the columns in the schema."""
    table = pa.table(
        {
            "image": [{"bytes": encoded("png", first + i), "path": f"{first + i}.png"} for i in range(count)],
            "label": [(first + i) % 2 for i in range(count)],
            "caption": [f"animal no {first + i}" for i in range(count)],
        }
    )
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def saved(folder: Path, shards: Sequence[pa.Table]) -> Path:
    """What `Dataset.save_to_disk` writes: Arrow streams, state.json, dataset_info.json."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{number:05d}-of-{len(shards):05d}.arrow" for number in range(len(shards))]
    for name, table in zip(names, shards, strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    text(
        folder / "state.json",
        json.dumps({"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": None}),
    )
    text(folder / "dataset_info.json", json.dumps({"features": FEATURES}))
    return folder


def parquet(path: Path, table: pa.Table) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=2)
    return path


def hf_datasets(root: Path) -> dict[str, Any]:
    saved(root / "train", [rows(2, 100)])
    saved(root / "test", [rows(5)])
    text(root / "dataset_dict.json", json.dumps({"splits": ["train", "test"]}))
    return {}


def mteb_task(root: Path) -> dict[str, Any]:
    """What is kept of a retrieval task of mteb: pictures that ask for texts."""
    files = [{"bytes": encoded("png", i), "path": None} for i in range(4)]
    table = pa.table({"id": [f"q{i}" for i in range(4)], "file": files, "relevant": [[0], [1, 2], [0], [3]]})
    parquet(root / "samples.rows", table)
    about = {
        "format": "ironbind mteb task 1", "name": "Pets", "subset": "default", "split": "test", "revision": "1",
        "modality": "image", "other": "text", "samples_ask": True,
        "ids": [f"d{i}" for i in range(5)], "texts": [f"animal no {i}" for i in range(5)],
    }  # fmt: skip
    text(root / "task.json", json.dumps(about))
    return {}


def hub(root: Path) -> dict[str, Any]:
    """What is kept of a data set of the Hub."""
    parquet(root / "00000.rows", rows(6))
    about = {"format": "ironbind fetched 1", "name": "hf:o/pets", "split": "test", "revision": "", "complete": True}
    text(root / "fetched.json", json.dumps({**about, "rows": 6, "files": ["00000.rows"]}))
    return {}


EXAMPLES = {"webdataset": webdataset, "hf_datasets": hf_datasets, "hub": hub, "mteb": mteb_task}
