"""Damaged lists, tables and samples of every layout: whatever happens to the bytes, loading and decoding gives samples
or one line, soon.
"""

import importlib
import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from battery import batter
from ironbind.data import DATASETS, load_dataset
from ironbind.data.storage.parquet import open_arrow
from ironbind.modalities.reading import reading
from ironbind.types import InputError
from layouts import tiny_clouds, tiny_pictures

COUNT, MORE = 8, 400  # mutations of each kind of file
ALL = 8  # samples decoded after each


LISTS = {".csv", ".tsv", ".txt", ".json", ".xml", ".h5", ".parquet", ".arrow", ".tar", ".mat"}


@cache
def examples() -> dict:
    """Of every layout a maker of a tiny set; further forms of a layout after its name and a blank."""
    made = {
        "modelnet40 txt": tiny_clouds.modelnet40_txt,
        "modelnet40 h5": partial(tiny_clouds.modelnet40_h5, points=64),
        "imagenet parquet": tiny_pictures.imagenet_parquet,
        "imagenet kaggle": tiny_pictures.imagenet_kaggle,
    }
    for file in sorted((Path(__file__).parents[1] / "layouts").glob("[!_]*.py")):
        made |= importlib.import_module(f"layouts.{file.stem}").EXAMPLES
    return made


def targets(root: Path, data) -> list[Path]:
    """The lists and tables (of more than three in a folder one), and the first sample of each modality."""
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(one for one in root.rglob("*") if one.is_file() and one.suffix.lower() in LISTS):
        groups.setdefault((path.parent, path.suffix.lower()), []).append(path)
    chosen = [path for group in groups.values() for path in (group if len(group) <= 3 else group[:1])]
    for source in data.sources.values():
        member = source.place(0).split("[")[0].split(":")[0]
        chosen.append(next(path for path in root.rglob("*") if path.as_posix().endswith("/" + member)))
    return list(dict.fromkeys(chosen))


@pytest.mark.parametrize("name", examples())
@pytest.mark.parametrize("count", [COUNT, pytest.param(MORE, marks=pytest.mark.slow)])
def test_damaged_sets_are_samples_or_one_line(tmp_path, capfd, name, count):
    layout = name.split()[0]
    options = examples()[name](tmp_path)

    def read():
        data = load_dataset(layout, tmp_path, **options)
        assert len(data.labels) == len(data.ids) > 0
        assert set(data.labels) <= set(range(len(data.classes)))
        for modality in data.modalities:
            decoded = data.decode(modality, range(min(ALL, len(data))))
            assert len(decoded) == min(ALL, len(data))

    wrong = []
    names = [
        str(tmp_path),
        layout,
        *(path.name for path in tmp_path.rglob("*.*")),
    ]  # of a damaged list, what it lists may be to blame
    for path in targets(tmp_path, load_dataset(layout, tmp_path, **options)):
        told = batter(read, path, count, seed=count, names=names)
        wrong += [f"{path.relative_to(tmp_path)}: {one}" for one in told.wrong]
        assert wrong or told.outcomes.total() == count
    assert wrong == []
    assert capfd.readouterr() == ("", ""), "readers must be silent"


def test_every_layout_of_files_and_every_kind_of_list_is_battered(tmp_path):
    assert {name.split()[0] for name in examples()} | {"world"} >= set(DATASETS)
    met = set()
    for number, (name, make) in enumerate(examples().items()):
        root = tmp_path / str(number)
        root.mkdir()
        options = make(root)
        met |= {path.suffix.lower() for path in targets(root, load_dataset(name.split()[0], root, **options))}
    assert met >= {
        ".csv",
        ".txt",
        ".json",
        ".xml",
        ".h5",
        ".parquet",
        ".npz",
        ".bin",
        ".npy",
        ".off",
        ".wav",
        ".jpg",
        ".png",
        ".mp4",
        ".avi",
    }


def test_arrow_offsets_beyond_the_file_are_refused_not_followed(tmp_path):
    pa = pytest.importorskip("pyarrow")
    path = tmp_path / "a.arrow"
    values = pa.table({"a": pa.array([b"x" * 1000, b"y" * 1000], pa.binary())})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, values.schema) as stream:
        stream.write_table(values)
    whole = path.read_bytes()
    offsets = np.array([0, 1000, 2000], "<i4").tobytes()
    assert whole.count(offsets) == 1
    path.write_bytes(whole.replace(offsets, np.array([0, 1000, 2**31 - 1], "<i4").tobytes()))
    with pytest.raises(InputError, match="a.arrow: cannot be read"), reading(path, "an Arrow stream"):
        open_arrow(path)


@pytest.mark.parametrize("rows", ["Infinity", "-1e999", "NaN", "null"])
def test_a_count_that_is_no_number_is_one_line(tmp_path, rows):
    options = examples()["hub"](tmp_path)
    path = tmp_path / "fetched.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**kept, "rows": 0}).replace('"rows": 0', f'"rows": {rows}'), encoding="utf-8")
    with pytest.raises(InputError, match="fetched.json: cannot be used"):
        load_dataset("hub", tmp_path, **options)
