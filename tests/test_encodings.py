"""Text is read and written as UTF-8 whatever the machine's own encoding is: no call leaves it to the locale."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "scripts", "benchmarks")
# modules whose `open` is not that of text files, and the methods of sources and encoders that are called so
NOT_TEXT = {
    "Image",
    "Pillow",
    "av",
    "wave",
    "tarfile",
    "zipfile",
    "h5py",
    "gzip",
    "soundfile",
    "os",
    "webbrowser",
    "self",
}
TEXT_METHODS = {"read_text", "write_text"}


def leaves_encoding_open(call: ast.Call) -> bool:
    """Whether a call reads or writes text without saying in which encoding."""
    keywords = {word.arg: word.value for word in call.keywords}
    if "encoding" in keywords:
        return False
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in TEXT_METHODS:
        return function.attr == "write_text" or not call.args  # read_text("utf-8") says it
    literal = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    if "mode" in keywords and isinstance(keywords["mode"], ast.Constant):
        literal.append(keywords["mode"].value)
    binary = any(isinstance(value, str) and "b" in value and len(value) <= 3 for value in literal)
    if isinstance(function, ast.Name) and function.id == "open":
        return not binary
    if isinstance(function, ast.Attribute) and function.attr in ("open", "fdopen", "NamedTemporaryFile"):
        owner = function.value
        if function.attr == "open" and isinstance(owner, ast.Name) and owner.id in NOT_TEXT:
            return False
        return not binary and (function.attr != "NamedTemporaryFile" or bool(literal))
    return any(
        isinstance(value := keywords.get(name), ast.Constant) and value.value for name in ("text", "universal_newlines")
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_text_file_and_pipe_says_utf_8(folder):
    offenders = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and leaves_encoding_open(node)
    ]
    assert not offenders


@pytest.mark.parametrize(
    ("line", "open_to_the_locale"),
    [
        ("path.read_text()", True), ("path.write_text('a')", True), ("open(path)", True), ("path.open()", True),
        ("open(path, 'a')", True), ("subprocess.run(command, text=True)", True), ("os.fdopen(handle, 'w')", True),
        ("path.read_text(encoding='utf-8')", False), ("open(path, 'rb')", False), ("path.open('wb')", False),
        ("Image.open(path)", False), ("subprocess.run(command)", False), ("open(path, mode='rb')", False),
    ],
)  # fmt: skip
def test_what_counts_as_an_offender(line, open_to_the_locale):
    assert leaves_encoding_open(ast.parse(line).body[0].value) == open_to_the_locale
