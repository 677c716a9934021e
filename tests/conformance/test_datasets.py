"""Every data set of the table: the protocol, stable ids, repeatable samples, the common options, detection, one line
for a missing folder.

A layout is tested on a tiny set in its real format: `EXAMPLES` of a file in tests/layouts/, name -> function that fills
a folder and returns the options to load it with. A layout without an example fails here.
"""

import pickle
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from ironbind.data import DATASETS, detect, load_dataset
from ironbind.modalities import MODALITIES
from ironbind.types import Dataset, InputError

EXAMPLES = {}
for file in sorted((Path(__file__).parents[1] / "layouts").glob("*.py")):
    EXAMPLES |= import_module(f"layouts.{file.stem}").EXAMPLES
LAYOUTS = [name for name in DATASETS if name != "world"]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """name -> (folder, options) of its example, written once."""
    written = {}

    def write(name: str) -> tuple[Path, dict]:
        assert name in EXAMPLES, f"{name} has no example: add one to EXAMPLES of a file in tests/layouts/"
        if name not in written:
            root = tmp_path_factory.mktemp(name)
            written[name] = root, EXAMPLES[name](root)
        return written[name]

    return write


@pytest.fixture
def load(example):
    def load(name: str, **more) -> Dataset:
        if name == "world":
            return load_dataset("world", n=10)
        root, options = example(name)
        return load_dataset(name, root, **{**options, **more})

    return load


def arrays(decoded) -> list:
    return (
        [np.array(decoded)]
        if isinstance(decoded, str)
        else [value for value in vars(decoded).values() if isinstance(value, np.ndarray)]
    )


def same(one, other) -> bool:
    return len(one) == len(other) and all(
        type(a) is type(b) and all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))
        for a, b in zip(one, other, strict=True)
    )


def test_no_example_is_left_over():
    assert set(EXAMPLES) == set(LAYOUTS)


@pytest.mark.parametrize("name", DATASETS)
def test_it_is_a_dataset(name, load):
    data = load(name)
    assert isinstance(data, Dataset)
    n = len(data)
    assert n == len(data.ids) == len(set(data.ids)) == len(data.labels) > 0
    assert all(isinstance(one, str) for one in data.ids)
    assert set(data.labels) <= set(range(len(data.classes)))
    assert len(set(data.classes)) == len(data.classes)
    assert data.captions is None or len(data.captions) == n
    assert data.modalities
    assert data.fingerprint
    assert data.fingerprint == load(name).fingerprint
    for modality in data.modalities:
        first, again = data.decode(modality, [1, 0]), data.decode(modality, [0, 1])
        assert all(isinstance(one, MODALITIES[modality].decoded) for one in first)
        assert same(first, again[::-1])
    with pytest.raises(InputError, match="modality 'smell'"):
        data.decode("smell", [0])


@pytest.mark.parametrize("name", DATASETS)
def test_it_survives_the_way_to_a_worker_process(name, load):
    data = load(name)
    for modality in data.modalities:
        data.decode(modality, [0])  # whatever this opens must not travel
    copy = pickle.loads(pickle.dumps(data))
    assert list(copy.ids) == list(data.ids)
    for modality in data.modalities:
        assert same(data.decode(modality, range(len(data))), copy.decode(modality, range(len(data))))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_sample_can_be_read(name, load):
    assert load(name).scan() == {}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_common_options_mean_the_same_everywhere(name, load):
    whole = load(name)
    few = len(whole) - 1
    part = load(name, limit=few, seed=1)
    assert len(part) == few
    assert set(part.ids) < set(whole.ids)
    assert part.classes == whole.classes
    assert part.fingerprint != whole.fingerprint
    assert list(part.ids) == list(load(name, limit=few, seed=1).ids)
    chosen = [whole.classes[label] for label in sorted(set(whole.labels), reverse=True)][:1]
    one = load(name, classes=chosen)
    assert one.classes == tuple(chosen)
    several = whole.all_labels or [(label,) for label in whole.labels]
    label = whole.classes.index(chosen[0])
    assert list(one.ids) == [key for key, labels in zip(whole.ids, several, strict=True) if label in labels]
    assert list(load(name, skip_unreadable=True).ids) == list(whole.ids)
    for wrong in ({"limit": 0}, {"classes": ["no such class"]}):
        with pytest.raises(InputError, match="expected"):
            load(name, **wrong)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_member_is_named_or_left_out_and_told(name, example, tmp_path):
    root, options = example(name)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    whole = load_dataset(name, copy, **options)
    source = whole.sources[whole.modalities[0]]
    member = source.place(0).split("[")[0].split(":")[0]
    path = next(path for path in copy.rglob("*") if path.as_posix().endswith("/" + member))
    size = path.stat().st_size // 3
    path.write_bytes(
        path.read_bytes()[: size + (size % 5 == 0)]
    )  # between two events of five bytes a cut would leave a whole file
    if all(source.place(row).startswith(member) for row in range(len(source))):  # one file holds every sample
        with pytest.raises(InputError, match=re.escape(path.name)):
            load_dataset(name, copy, **options, skip_unreadable=True)
        return
    kept = load_dataset(name, copy, **options, skip_unreadable=True)
    left = set(whole.ids) - set(kept.ids)
    assert left
    assert len(kept.problems) == len(whole.problems) + len(left)
    assert sum(path.name in line for line in kept.problems) == len(left)
    assert all("\n" not in line for line in kept.problems)


@pytest.mark.parametrize("name", LAYOUTS)
def test_it_recognises_its_own(name, example, tmp_path):
    root, _ = example(name)
    found = detect(root)
    assert next(iter(found)) == name, found
    assert "\n" not in found[name]
    for path in (tmp_path, tmp_path / "nowhere"):
        assert name not in detect(path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_folder_is_one_line(name, tmp_path):
    for path in (tmp_path / "nowhere", None):
        with pytest.raises(InputError) as caught:
            load_dataset(name, path)
        assert "\n" not in str(caught.value)
