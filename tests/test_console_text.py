"""What an encoding lacks is spelled out: no print ends a run, whatever the terminal."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ironbind
from ironbind.console_text import SPELLED, print_every_sign
from ironbind.core.results import Result, Row

SOURCE = Path(ironbind.__file__).parent


def printed(text: str, encoding: str, errors: str = "strict") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline="\n")
    print_every_sign(stream)
    print(text, file=stream, flush=True)
    return raw.getvalue().decode(encoding).rstrip("\n")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1", "utf-8", "utf-16"])
def test_a_table_goes_to_every_encoding(encoding):
    line = "image 95.3 (87.1–98.4) −1.6 ⚠ C18 → ±0 ε ≤ 4/255 ✗ × ∞"
    text = printed(line, encoding)
    assert text.encode(encoding)  # it is text of that encoding
    if encoding.startswith("utf"):
        assert text == line
    else:
        assert "?" not in text
        assert re.search(r"! C18", text)
    if encoding == "ascii":
        assert text == "image 95.3 (87.1-98.4) -1.6 ! C18 -> +/-0 eps <= 4/255 x x inf"


def test_names_are_escaped_so_that_they_can_be_told_apart():
    assert printed("café 猫", "ascii") == "caf\\xe9 \\u732b"
    assert printed("café", "cp1252") == "café"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252"])
def test_a_byte_that_is_no_text_is_that_byte(encoding):
    assert printed("caf\udce9.png", encoding) == "caf\\xe9.png"


def test_what_the_user_asked_for_stays():
    assert printed("⚠", "ascii", "replace") == "?"
    assert printed("⚠", "ascii", "ignore") == ""
    print_every_sign(io.StringIO(), None)  # no encoding, no stream: nothing to do


def test_every_sign_that_the_package_writes_has_a_spelling():
    """Signs in string constants of the source; letters are escaped like those of names."""
    signs = set()
    for path in SOURCE.rglob("*.py"):
        signs |= {sign for sign in path.read_text(encoding="utf-8") if ord(sign) > 127 and not sign.isalpha()}
    assert signs <= set(SPELLED)
    assert all(spelling.isascii() for spelling in SPELLED.values())


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "cp1252"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_a_command_prints_signs_in_any_encoding(tmp_path, variables):
    """A real command whose output names a folder with signs, redirected into a file."""
    row = Row("e", "none", "image", "pixels", "zero_shot", "top1", "none", "none", "0", "clean", 90.0, 80.0, 95.0, 40)
    Result("läuft ⚠ ε", [row]).write(tmp_path / "läuft ⚠ ε")
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONUTF8", "LANG")}
    command = [sys.executable, "-m", "ironbind", "report", str(tmp_path / "läuft ⚠ ε")]
    with (tmp_path / "out").open("wb") as out:
        done = subprocess.run(
            command, stdout=out, stderr=subprocess.PIPE, timeout=120, env={**environment, **variables}
        )
    assert done.returncode == 0, done.stderr.decode()
    line = (tmp_path / "out").read_bytes()
    assert line.startswith(b"report: ")
    assert line.rstrip().endswith(b"report.html")
    assert "⚠" in (tmp_path / "läuft ⚠ ε" / "report.md").read_text(encoding="utf-8")
