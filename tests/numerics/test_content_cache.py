"""An entry of a cache is right or absent, whatever lies in its place."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ironbind.numerics.content_cache import ARRAY, STATE, TENSORS, content_key

VALUES = {
    "tensors": (TENSORS, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1, 2])}),
    "array": (ARRAY, torch.linspace(0, 1, 12).reshape(3, 4)),
    "state": (STATE, {"step": 3, "losses": [0.5], "parts": {"w": torch.ones(2)}, "adam": {0: torch.tensor(1.0)}}),
}  # fmt: skip


def same(value, other) -> bool:
    if isinstance(value, torch.Tensor):
        return value.dtype == other.dtype and value.equal(other)
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(same(value[name], other[name]) for name in value)
    return value == other


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_comes_back_as_it_was(kind, tmp_path):
    form, value = VALUES[kind]
    path = tmp_path / "deep" / "below" / "entry"
    assert form.read(path) is None
    form.write(path, value)
    assert same(form.read(path), value)
    assert [entry.name for entry in path.parent.iterdir()] == ["entry"]  # no temporary file is left


@pytest.mark.parametrize("kind", VALUES)
def test_no_folder_keeps_nothing(kind):
    form, value = VALUES[kind]
    form.write(None, value)
    assert form.read(None) is None


@pytest.mark.parametrize("kind", VALUES)
def test_a_damaged_or_foreign_file_is_no_entry_and_is_replaced(kind, tmp_path):
    form, value = VALUES[kind]
    path = tmp_path / "entry"
    form.write(path, value)
    whole = path.read_bytes()
    foreign = [other.encode(stored) for name, (other, stored) in VALUES.items() if name != kind]
    objects = pickle.dumps(np.array([{}], dtype=object))
    for content in (b"", b"\0", whole[: len(whole) // 2], whole[:-1], b"<html>404</html>", objects, *foreign):
        path.write_bytes(content)
        assert form.read(path) is None, content[:20]
        form.write(path, value)
        assert path.read_bytes() == whole
    folder = tmp_path / "folder"
    folder.mkdir()
    assert form.read(folder) is None


def test_a_value_that_does_not_fit_is_no_entry(tmp_path):
    path = tmp_path / "entry"
    TENSORS.write(path, {"z": torch.ones(2, 3)})
    assert TENSORS.read(path, lambda stored: len(stored["z"]) == 2) is not None
    assert TENSORS.read(path, lambda stored: len(stored["z"]) == 3) is None
    assert TENSORS.read(path, lambda stored: len(stored["no such name"]) == 2) is None
    assert load_file(path)["z"].equal(torch.ones(2, 3))  # any reader of safetensors can look into it


def test_a_key_changes_with_everything_in_it():
    z = torch.arange(6.0)
    keys = [
        content_key(("a", 1)), content_key(("a", 2)), content_key(("a", 1), [z]), content_key(("a", 1), [z + 1]),
        content_key(("a", 1), [z.reshape(2, 3)]), content_key(("a", 1), [z.int()]), content_key(("a", 1), [z[0]]),
        content_key(("a", 1), [z.bfloat16()]),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert content_key(("a", 1), [z]) == content_key(("a", 1), [z.clone()])
    assert content_key(("a", 1), [torch.arange(12.0)[::2]]) == content_key(("a", 1), [torch.arange(0.0, 12.0, 2.0)])
    assert {len(key) for key in keys} == {24}
    assert len(content_key("a", length=8)) == 8
