"""Text for terminals and redirects that know few characters (cp1252, ASCII): a sign that they lack is spelled out.
Files that are written as such are always UTF-8.
"""

import codecs
from typing import TextIO

STOPPED = "ironbind: stopped; run the same command to continue: what a run has stored is not computed again"
"""What Ctrl-C is answered with."""

SPELLED = {
    "✅": "ok", "❌": "x", "\ufffd": "?",
    "⚠": "!", "✗": "x", "✓": "ok", "†": "+", "–": "-", "—": "-", "−": "-", "±": "+/-", "×": "x", "·": "-", "→": "->",
    "ε": "eps", "≤": "<=", "≥": ">=", "∞": "inf", "…": "...", "“": '"', "”": '"', "‘": "'", "’": "'",
    "━": "-", "─": "-", "│": "|", "╭": "+", "╮": "+", "╰": "+", "╯": "+", "╸": "-", "╺": "-",
}  # fmt: skip
"""Signs of tables, reports and progress bars, and what stands for each where it cannot be printed."""

_HANDLER = "ironbind_spelled"


def spell_out(error: UnicodeError) -> tuple[str, int]:
    """An error handler for `codecs`: known signs as in SPELLED, every other character as an escape.

    A byte of a file name that is no text (a lone surrogate of Python's) is written as that byte, as in "caf\\xe9.png".
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_spelled, error.object[error.start : error.end])), error.end


def _spelled(sign: str) -> str:
    if sign in SPELLED:
        return SPELLED[sign]
    if 0xDC80 <= ord(sign) <= 0xDCFF:
        return f"\\x{ord(sign) - 0xDC00:02x}"
    return sign.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(_HANDLER, spell_out)


def print_every_sign(*streams: TextIO | None) -> None:
    """Makes text streams print what their encoding lacks, spelled out, instead of failing.

    Streams whose user asked for a handling of their own (`PYTHONIOENCODING=ascii:replace`) and those that are no text
    files stay as they are.
    """
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure and getattr(stream, "errors", None) in ("strict", "backslashreplace"):
            reconfigure(errors=_HANDLER)
