"""Choices that would be ignored, or would overwrite something, are one line."""

import pytest
from typer.testing import CliRunner

from ironbind.cli import app
from ironbind.core.results import Result, Row
from ironbind.report import write_report
from ironbind.runs.pretrained import from_pretrained
from ironbind.types import InputError


@pytest.mark.parametrize("command", ["audit", "certify"])
@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--limit", "4", "--data-option", "n=2"], "--limit 4 and --data-option n=2 both say how many"),
        (["--eps", ""], "--eps is empty"),
        (["--eps", ","], "--eps is empty"),
        (["--eps", "0,03"], "did you mean 0.03"),
    ],
)
def test_a_choice_that_would_be_ignored(options, match, command, tmp_path):
    arguments = [command, "world", "--modality", "image", "--out", str(tmp_path / "run"), *options]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError)
    assert match in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_a_report_never_overwrites_another_run(tmp_path):
    clean = ("none", "none", "0", "clean")
    row = Row("toy", "none", "image", "pixels", "zero_shot", "top1", *clean, 90.0, 80.0, 95.0, 40)
    for name in ("a", "b"):
        Result(name, [row]).write(tmp_path / name)
    with pytest.raises(InputError, match="would overwrite the run in"):
        write_report(tmp_path / "a", tmp_path / "b")


def test_heads_that_are_neither_a_folder_nor_on_the_hub():
    with pytest.raises(InputError, match="none is no folder"):
        from_pretrained("none")
