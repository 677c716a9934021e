"""Every data set of the table: the protocol, stable ids, repeatable samples, one line for a missing folder."""

import numpy as np
import pytest

from ironbind.data import DATASETS, load_dataset
from ironbind.modalities import MODALITIES
from ironbind.types import Dataset, InputError


def small(name: str, tmp_path) -> Dataset:
    """A small instance of each entry; a layout of files is first written from the built-in world."""
    if name == "world":
        return load_dataset("world", n=10)
    from ironbind import export

    export(load_dataset("world", n=10), tmp_path / "tree")
    return load_dataset(name, tmp_path / "tree", modality="image") if name == "folder" else load_dataset(name, tmp_path / "tree")


def arrays(decoded) -> list:
    return [np.array(decoded)] if isinstance(decoded, str) else [value for value in vars(decoded).values() if isinstance(value, np.ndarray)]


@pytest.mark.parametrize("name", DATASETS)
def test_it_is_a_dataset(name, tmp_path):
    data = small(name, tmp_path)
    assert isinstance(data, Dataset)
    n = len(data)
    assert n == len(data.ids) == len(set(data.ids)) == len(data.labels) > 0
    assert all(isinstance(one, str) for one in data.ids)
    assert set(data.labels) <= set(range(len(data.classes)))
    assert len(set(data.classes)) == len(data.classes)
    assert data.captions is None or len(data.captions) == n
    assert data.fingerprint
    assert data.fingerprint == small(name, tmp_path).fingerprint
    for modality in data.modalities:
        first, again = data.decode(modality, [1, 0]), data.decode(modality, [0, 1])
        kind = MODALITIES[modality].decoded
        assert all(isinstance(one, kind) for one in first)
        for a, b in zip(first, reversed(again), strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(arrays(a), arrays(b), strict=True))


@pytest.mark.parametrize("name", [one for one in DATASETS if one != "world"])
def test_a_missing_folder_is_one_line(name, tmp_path):
    for path in (tmp_path / "nowhere", None):
        with pytest.raises(InputError) as caught:
            load_dataset(name, path)
        assert "\n" not in str(caught.value)
