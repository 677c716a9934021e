import errno
import os
import pickle

import pytest

from ironbind.core.errors import InputError, UnknownName, WriteError, disk_problem, writing


def test_a_refusal_is_one_line_whatever_it_quotes():
    error = InputError("a\nb.wav: is missing;\r\n expected it\u2028there")
    assert str(error) == "a b.wav: is missing;  expected it there"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(UnknownName("x\ny")) == "x y"


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "free some space"), (errno.EDQUOT, "free some space"), (errno.EFBIG, "free some space"),
        (errno.EACCES, "expected a folder"), (errno.EROFS, "expected a folder"), (errno.ENOTDIR, "expected a folder"),
        (errno.EEXIST, "expected a folder"), (errno.EISDIR, "expected a folder"), (errno.ENOENT, "expected a folder"),
    ],
)  # fmt: skip
def test_what_a_disk_refuses_is_one_line(number, expected):
    with pytest.raises(WriteError) as caught, writing("run/table.csv"):
        raise OSError(number, os.strerror(number), "elsewhere")
    line = str(caught.value)
    assert line.startswith(f"run/table.csv cannot be written ({os.strerror(number)}); {expected}")
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value, OSError)  # for those who catch that, such as a cache that may fail
    assert str(pickle.loads(pickle.dumps(caught.value))) == line  # it comes out of worker processes
    with pytest.raises(WriteError) as outer, writing("run"):
        raise caught.value
    assert str(outer.value) == line


def test_other_errors_stay_as_they_are():
    with pytest.raises(BrokenPipeError), writing("run"):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert disk_problem(FileNotFoundError(errno.ENOENT, "No such file", "x")) == ""
    assert disk_problem(BrokenPipeError(errno.EPIPE, "Broken pipe")) == ""


def test_an_error_that_nobody_expected_names_its_own_file():
    assert disk_problem(OSError(errno.ENOSPC, "No space left on device", "sheet.png")).startswith("sheet.png cannot be")
    assert disk_problem(OSError(errno.ENOSPC, "No space left on device")).startswith("a file cannot be written (No spa")
    assert disk_problem(PermissionError(errno.EACCES, "Permission denied", "a.wav")).startswith("a.wav: Permission den")
