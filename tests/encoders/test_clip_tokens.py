"""CLIP's tokens: cleaning, cutting, padding, and the path through a vocabulary file."""

import gzip
import json
import sys

import pytest
import torch

from ironbind.encoders.shared.clip_tokens import END, START, _encoder, clean, tokenize
from ironbind.types import InputError


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("  MIXED   Case\tand &amp;amp; entities ", "mixed case and & entities"),
        ("cafÃ©", "café"),  # UTF-8 read as Latin-1, repaired
        ("\n", ""),
    ],
)
def test_cleaning(raw, cleaned):
    assert clean(raw) == cleaned


def test_known_ids():
    ids = tokenize(["A dog.", ""])
    assert ids.shape == (2, 77)
    assert ids[0, :6].tolist() == [START, 320, 1929, 269, END, 0]
    assert ids[1, :3].tolist() == [START, END, 0]


def test_a_long_text_keeps_its_end_unless_told_otherwise():
    long = " ".join(["word"] * 200)
    kept, cut = tokenize([long])[0], tokenize([long], keep_end=False)[0]
    assert kept[-1] == END
    assert torch.equal(kept[:-1], cut[:-1])
    assert END not in cut
    assert cut.argmax() == 0, "why all over-long texts coincide without it"
    exact = tokenize([" ".join(["word"] * 75)])[0]
    assert exact[-1] == END
    assert torch.equal(exact, tokenize([" ".join(["word"] * 75)], keep_end=False)[0])


def test_padding():
    assert (tokenize(["x"], pad=END)[0, 2:] == END).all()


def test_a_literal_end_token_is_one_token():
    assert tokenize(["a <|endoftext|> b"])[0, :5].tolist() == [START, 320, END, 321, END]


def little_vocabulary(path) -> None:
    """OpenAI's format: a header, then merges; ids are 256 bytes, 256 word-final bytes, merges, two specials."""
    path.write_bytes(gzip.compress(b"#version: 0.2\nd o\ndo g</w>\na n\nan d</w>\n"))


def test_merges_file_through_tokenizers(tmp_path):
    little_vocabulary(tmp_path / "bpe.txt.gz")
    ids = tokenize(["dog Dog's and d"], vocabulary=tmp_path / "bpe.txt.gz")[0].tolist()
    # printable bytes come first, from "!" on; with </w> 256 later; then the merges: d o, do g</w>, a n, an d</w>
    quote, final_s, final_d = ord("'") - ord("!"), 256 + ord("s") - ord("!"), 256 + ord("d") - ord("!")
    assert ids[:8] == [START, 513, 513, quote, final_s, 515, final_d, END]


def test_folder_through_tokenizers(tmp_path):
    vocabulary = {"d": 0, "o": 1, "g</w>": 2, "do": 3, "dog</w>": 4, "<|startoftext|>": 5, "<|endoftext|>": 6}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nd o\ndo g</w>\n")
    assert tokenize(["dog"], vocabulary=tmp_path)[0, 1] == 4


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 48\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("bpe.txt.gz", LFS, "is a git-lfs pointer"),
        ("bpe.txt.gz", b"<!DOCTYPE html><html></html>", "is a web page"),
        ("bpe.txt.gz", b"\x1f\x8b cut", "cannot be read"),
        ("bpe.txt", b"#version: 0.2\none two three\n", "cannot be read"),
        ("bpe.txt", b"\xff\xfe\x00\x01", "cannot be read"),
        ("bpe.txt", b"a note", "holds no merges of letters"),
        ("tokenizer.json", b"{}", "cannot be read"),
        ("tokenizer.json", b"", "is an empty file"),
        ("vocab.json", b"[1, 2]", "cannot be read"),
        (
            "vocab.json",
            b'{"a</w>": 64, "<|startoftext|>": 5, "<|endoftext|>": 6}',
            "is not CLIP's: 'a' is .64. there, not 320",
        ),
    ],
)
def test_damaged_and_foreign_vocabularies_are_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    if name == "vocab.json":
        (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        path = tmp_path
    with pytest.raises(InputError, match=said) as refusal:
        tokenize(["x"], vocabulary=path)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("package", "vocabulary"), [("instant_clip_tokenizer", False), ("tokenizers", True)])
def test_a_package_that_is_missing_names_its_extra(tmp_path, monkeypatch, package, vocabulary):
    little_vocabulary(tmp_path / "bpe.txt.gz")
    monkeypatch.setitem(sys.modules, package, None)
    _encoder.cache_clear()
    with pytest.raises(InputError, match=r"pip install ironbind\[text\]"):
        tokenize(["x"], vocabulary=tmp_path / "bpe.txt.gz" if vocabulary else None)


def test_vocabularies_that_are_none(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        tokenize(["x"], vocabulary=tmp_path / "nowhere")
    with pytest.raises(InputError, match="neither tokenizer.json nor"):
        tokenize(["x"], vocabulary=tmp_path)
