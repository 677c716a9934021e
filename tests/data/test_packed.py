"""Packed columns are the lists they were made of, in a few bytes a row."""

import pickle
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from ironbind.data.storage.packed import PackedMembers, PackedStrings, RowsOfFiles, distinct, taken

STRINGS = st.lists(st.text(st.characters(min_codepoint=0, exclude_categories=()), max_size=6), max_size=8)
NUMBERS = st.integers(0, 2**40)
MEMBERS = st.lists(st.tuples(st.sampled_from(["a.tar", "b.tar"]), st.text(max_size=4), NUMBERS, NUMBERS), max_size=8)


@given(STRINGS)
def test_strings_come_back(strings):
    packed = PackedStrings.of(strings)
    assert list(packed) == strings
    assert packed[1:3] == strings[1:3]
    assert list(pickle.loads(pickle.dumps(packed))) == strings
    assert distinct(packed) == (len(set(strings)) == len(strings))


@given(st.lists(STRINGS, max_size=4))
def test_joined_strings_are_those_of_the_parts(parts):
    joined = PackedStrings.joined([PackedStrings.of(part) for part in parts])
    assert list(joined) == [string for part in parts for string in part]


@given(st.lists(MEMBERS, max_size=3))
def test_members_come_back(parts):
    whole = [member for part in parts for member in part]
    for packed in (PackedMembers.of(whole), PackedMembers.joined([PackedMembers.of(part) for part in parts])):
        assert list(packed) == whole
        backwards = list(range(len(whole)))[::-2]
        assert list(taken(packed, backwards)) == taken(whole, backwards)
        assert all(type(number) is int for member in packed for number in member[2:])


def test_rows_of_files():
    rows = RowsOfFiles.whole([("a", 2), ("b", 0), ("c", 3)])
    assert list(rows) == [("a", 0), ("a", 1), ("c", 0), ("c", 1), ("c", 2)]
    assert list(taken(rows, [4, 0])) == [("c", 2), ("a", 0)]
    assert rows[-1] == ("c", 2)
    with pytest.raises(IndexError):
        rows[5]


def test_a_row_takes_few_bytes():
    count = 10_000
    members = PackedMembers.of([(f"{row // 100:05d}.tar", f"{row:09d}.jpg", row, row) for row in range(count)])
    arrays = [members.archive_of, members.offsets, members.sizes, members.names.ends]
    size = sum(array.nbytes for array in arrays) + len(members.names.text)
    assert size <= 45 * count
    assert sys.getsizeof(members.names.text) < 14 * count
    assert all(isinstance(array, np.ndarray) for array in arrays)
