import pytest

from ironbind.modalities.text import read, write


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"a dog\n", "a dog"), (b"\xef\xbb\xbfa dog", "a dog"), ("ein Häuschen\r\n".encode(), "ein Häuschen")],
)
def test_utf8_with_or_without_mark(tmp_path, data, text):
    (tmp_path / "a.txt").write_bytes(data)
    assert read(tmp_path / "a.txt") == text
    write(text, tmp_path / "b.txt")
    assert read(tmp_path / "b.txt") == text


@pytest.mark.parametrize(
    ("data", "words"),
    [(b" \n\t", "only white space"), (b"caf\xe9", "utf-8"), (b"a\x00b", "NUL"), (b"x" * 1_000_001, "1,000,001 bytes")],
)
def test_refusals(tmp_path, refused, data, words):
    (tmp_path / "a.txt").write_bytes(data)
    refused(read, tmp_path / "a.txt", words)
