import pytest

from ironbind.data import list_files as lists
from ironbind.data.list_files import read_lines, read_table, seconds, whole_number
from ironbind.types import InputError


def rows(path, *columns, **options):
    return list(read_table(path, columns, "a list", **options))


def test_tables_with_quotes_blanks_comments_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeff# one\n# two\nb, a ,c\r\n1, "x, ""y""",z\r\n\r\n2,"é","line\nbreak"\r\n'.encode())
    assert rows(path, "a", "b") == [('x, "y"', "1"), ("é", "2")]
    assert rows(path, "c") == [("z",), ("line break",)]
    path.write_text("1\ttwo words\n", encoding="utf-8")
    assert rows(path, "a", "b", header=False, separator="\t") == [("1", "two words")]


def test_decomposed_letters_are_composed(tmp_path):
    (tmp_path / "a.txt").write_text("cafe\u0301.wav\n\n  b \n", encoding="utf-8")
    assert read_lines(tmp_path / "a.txt", "names") == ["caf\u00e9.wav", "b"]


@pytest.mark.parametrize(("content", "words"), [
    (b"", "has 0 bytes"), (b"a,b\n", "lists nothing"), (b"a,c\n1,2\n", "has columns a, c, not b; expected a list"),
    (b"a,b\n1\n", "line 2 has 1 columns of 2"),
    (b"a,b\n1,2,3\n", "line 2 has 3 columns of 2"),
    (b'a,b\n"1,2\n', "cannot be read"), (b'a,b\n"1"x,2\n', "cannot be read"), (b"a,b\n\xff,2\n", "is not UTF-8"),
    (b"# only comments\n", "has columns"), (b"a,b\n" + b"x" * 2**18 + b",2\n", "cannot be read"),
])  # fmt: skip
def test_damaged_tables_are_refused_with_the_line(tmp_path, content, words):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as refusal:
        rows(path, "a", "b")
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("content", "words"), [
    (b" \n\n", "lists nothing"), (b"a\0b\n", "is no text"), (b"x" * 2**18, "is no text"), (b"\xff\n", "is not UTF-8"),
    (b"", "has 0 bytes"),
])  # fmt: skip
def test_damaged_lines_are_refused(tmp_path, content, words):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_lines(path, "names")


def test_missing_and_too_large_lists(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such file; expected names"):
        read_lines(tmp_path / "none.txt", "names")
    (tmp_path / "a.txt").write_text("abc\n")
    monkeypatch.setattr(lists, "MOST_BYTES", 3)
    with pytest.raises(InputError, match="has 4 bytes; expected names, of at most 3"):
        read_lines(tmp_path / "a.txt", "names")


def test_numbers_in_lists(tmp_path):
    assert whole_number("007", tmp_path, "start") == 7
    assert whole_number("9", tmp_path, "label", below=10) == 9
    for written, below in [
        ("-1", None),
        ("1.0", None),
        ("", None),
        ("٣", None),
        ("9" * 30, None),
        ("10", 10),
        ("1_0", None),
    ]:
        with pytest.raises(InputError, match="column start says"):
            whole_number(written, tmp_path, "start", below)
    assert seconds("30.000", tmp_path, "start") == 30.0
    for written in ("nan", "inf", "-1", "1e6", "x"):
        with pytest.raises(InputError, match="column start says"):
            seconds(written, tmp_path, "start")
