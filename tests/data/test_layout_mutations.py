"""Damaged lists, tables and samples of every layout: whatever happens to the bytes, loading and decoding gives samples or one line, soon."""

import importlib
from functools import cache
from pathlib import Path

import pytest

from battery import batter
from ironbind.data import DATASETS, load_dataset
from layouts import tiny_clouds

COUNT, MORE = 25, 400  # mutations of each kind of file
ALL = 8  # samples decoded after each


@cache
def examples() -> dict:
    """Of every layout a maker of a tiny set; further forms of one layout under names of their own."""
    made = {"modelnet40 txt": tiny_clouds.modelnet40_txt, "modelnet40 h5": tiny_clouds.modelnet40_h5}
    for file in sorted((Path(__file__).parents[1] / "layouts").glob("[!_]*.py")):
        made |= importlib.import_module(f"layouts.{file.stem}").EXAMPLES
    return made


def targets(root: Path) -> list[Path]:
    """Every file that only occurs once of its kind (lists, tables), and of the others, in each folder's place in the tree, the first."""
    chosen: dict[tuple, Path] = {}
    for path in sorted(one for one in root.rglob("*") if one.is_file()):
        chosen.setdefault((path.suffix.lower(), len(path.relative_to(root).parts)), path)
    return list(chosen.values())


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
    names = [str(tmp_path), layout, *(path.name for path in tmp_path.rglob("*.*"))]  # of a damaged list, what it lists may be to blame
    for path in targets(tmp_path):
        told = batter(read, path, count, seed=count, names=names)
        wrong += [f"{path.relative_to(tmp_path)}: {one}" for one in told.wrong]
        assert wrong or told.outcomes.total() == count
    assert wrong == []
    assert capfd.readouterr() == ("", ""), "readers must be silent"


def test_every_layout_of_files_is_battered():
    assert {name.split()[0] for name in examples()} | {"world"} >= set(DATASETS)
