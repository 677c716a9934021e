"""CLIP tokenisation: cleaned text -> byte-pair ids, with the end token kept when a text is cut (and without it, where a
port must be faithful).
"""

import gzip
import html
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ftfy
import regex
import torch
from jaxtyping import Int
from torch import Tensor

from ironbind.core.placeholders import placeholder
from ironbind.types import InputError

CONTEXT = 77
START, END = 49406, 49407
A = 320  # the word "a", of every vocabulary in CLIP's order, by which another model's is told
EXPECTED = "bpe_simple_vocab_16e6.txt.gz, tokenizer.json or a folder with vocab.json and merges.txt"
MERGES = 49152 - 256 - 2  # lines of OpenAI's vocabulary file that CLIP uses, after its header

# words of CLIP: the two specials, English contractions, runs of letters, single digits, runs of other non-space
# characters
PATTERN = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clean(text: str) -> str:
    """What the official tokenizers read: mojibake repaired, HTML entities resolved twice, white space collapsed, lower
    case.
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return regex.sub(r"\s+", " ", text).strip().lower()


Encode = Callable[[str], list[int]]  # cleaned text -> ids without start and end


def _builtin() -> Encode:
    try:
        from instant_clip_tokenizer import Tokenizer
    except ImportError:
        raise InputError(
            "text needs CLIP's vocabulary: expected `pip install ironbind[text]` (its tokenizer is there for Python <"
            " 3.13),"
            f" or vocabulary=PATH ({EXPECTED})"
        ) from None
    words, specials = Tokenizer(), {"<|startoftext|>": START, "<|endoftext|>": END}

    def encode(text: str) -> list[int]:  # the library spells the specials out, the official tokenizer knows them
        parts = regex.split(r"(<\|startoftext\|>|<\|endoftext\|>)", text)
        return [number for part in parts for number in ([specials[part]] if part in specials else words.encode(part))]

    return encode


def _from_file(path: Path) -> Encode:
    """Through the `tokenizers` library, from OpenAI's merges file, a tokenizer.json, or a folder with vocab.json and
    merges.txt.
    """
    if not path.exists():
        raise InputError(f"vocabulary {str(path)!r} does not exist; expected {EXPECTED}")
    if path.is_dir():
        if (path / "tokenizer.json").is_file():
            return _from_file(path / "tokenizer.json")
        if not ((path / "vocab.json").is_file() and (path / "merges.txt").is_file()):
            raise InputError(f"vocabulary {str(path)!r} holds neither tokenizer.json nor vocab.json with merges.txt")
        lines = (path / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
        vocabulary = json.loads((path / "vocab.json").read_text(encoding="utf-8"))
        return _byte_pairs(vocabulary, [_pair(line) for line in lines if line.strip()])
    if path.suffix == ".json":
        return _ids_only(_tokenizers().Tokenizer.from_file(str(path)))
    raw = path.read_bytes()
    lines = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8").split("\n")[1 : MERGES + 1]
    merges = [_pair(line) for line in lines if line.strip()]
    if not merges:
        raise InputError(f"vocabulary {str(path)!r} holds no merges of letters; expected {EXPECTED}")
    alphabet = list(_byte_letters().values())
    words = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *("".join(pair) for pair in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    return _byte_pairs({word: i for i, word in enumerate(words)}, merges)


def _pair(line: str) -> tuple[str, str]:
    first, second = line.split()
    return first, second


def _byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-in for every byte, in the order of CLIP's ids: printable bytes first, then the others as
    chr(256 + n).
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(256 + n) for n, byte in enumerate(others)}}


def _tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise InputError(
            "a vocabulary file needs the tokenizers library; expected `pip install ironbind[text]`"
        ) from None
    return tokenizers


def _byte_pairs(vocabulary: dict[str, int], merges: list[tuple[str, str]]) -> Encode:
    tokenizers = _tokenizers()
    model = tokenizers.models.BPE(
        vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", continuing_subword_prefix=""
    )
    tokenizer = tokenizers.Tokenizer(model)
    split, letters = tokenizers.pre_tokenizers.Split, tokenizers.pre_tokenizers.ByteLevel
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [
            split(tokenizers.Regex(PATTERN), behavior="removed", invert=True),
            letters(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    return _ids_only(tokenizer)


def _ids_only(tokenizer: Any) -> Encode:
    return lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids)


@lru_cache(maxsize=4)
def _encoder(vocabulary: str | None) -> Encode:
    if vocabulary is None:
        return _builtin()
    content = placeholder(Path(vocabulary)) if Path(vocabulary).is_file() else ""
    if content:
        raise InputError(f"vocabulary {vocabulary!r} is {content}; expected {EXPECTED}")
    try:
        encode = _from_file(Path(vocabulary))
    except InputError:
        raise
    except Exception as error:  # parsers throw anything at damaged or foreign files, `tokenizers` bare Exceptions
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise InputError(f"vocabulary {vocabulary!r} cannot be read ({reason}); expected {EXPECTED}") from None
    try:
        ids = encode("a")
    except Exception:  # `tokenizers` has no other word for a letter that a small vocabulary lacks
        return encode
    if ids and ids != [A]:
        raise InputError(f"vocabulary {vocabulary!r} is not CLIP's: 'a' is {ids} there, not {A}; expected {EXPECTED}")
    return encode


def tokenize(
    texts: Sequence[str], *, vocabulary: str | Path | None = None, keep_end: bool = True, pad: int = 0
) -> Int[Tensor, "n 77"]:
    """Start, ids, end, then `pad`; a text that is too long is cut.

    `keep_end`: a cut text still ends with the end token (CLIP, LanguageBind, ImageBind since November 2025). Without it
    (UniBind, older ImageBind) an over-long text has no end token, the towers read out position 0, and *every over-long
    text gets the same embedding*. `vocabulary`: None for the one inside `instant-clip-tokenizer`, else a file or folder
    read through `tokenizers`. Raises InputError where no vocabulary can be had.
    """
    encode = _encoder(None if vocabulary is None else str(vocabulary))
    out = torch.full((len(texts), CONTEXT), pad, dtype=torch.int64)
    for row, text in zip(out, texts, strict=True):
        ids = [START, *encode(clean(text)), END]
        if len(ids) > CONTEXT:
            ids = [*ids[: CONTEXT - 1], END] if keep_end else ids[:CONTEXT]
        row[: len(ids)] = torch.tensor(ids)
    return out
