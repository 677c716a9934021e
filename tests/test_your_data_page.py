"""docs/your-data.md: every command and every snippet on it runs, in order, on files like those it describes."""

import os
import pickle
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ironbind.cli import app
from ironbind.core.results import Result
from layouts.tiny_archives import pets as tar_pets
from layouts.tiny_archives import shard
from layouts.tiny_pictures import picture
from layouts.tiny_sounds import text

PAGE = (Path(__file__).parents[1] / "docs" / "your-data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with the files of the page; commands run in it."""
    root = tmp_path_factory.mktemp("page")
    for folder, first in (("pets", 0), ("more-pets", 50)):
        for label, name in enumerate(("cat", "guinea_pig")):
            for number in (1, 2, 3):
                picture(root / folder / name / f"{number}.png", "png", first + 10 * label + number)
    for name in "abcd":
        picture(root / "pictures" / f"{name}.png", "png", ord(name))
    rows = [
        "photo,species,told",
        'pictures/a.png,cat,"a small, grey cat"',
        "pictures/b.png,guinea pig,a guinea pig asleep",
    ]
    text(
        root / "pets.csv",
        "\n".join([*rows, "pictures/c.png,cat,a cat that runs", "pictures/d.png,guinea pig,a round one"]),
    )
    jobs = next(body for kind, body in BLOCKS if kind == "python" and body.startswith("# my_audits.py"))
    text(root / "my_audits.py", jobs)
    text(root / "prompts.txt", "a photo of my {}.\nthe {}\n")
    shard(root / "shards" / "0.tar", tar_pets(4))
    text(root / "shards" / "classnames.txt", "guinea pig\ncat\n")
    (root / "audio_esc_center_embeddings.pkl").write_bytes(
        pickle.dumps({"dog": torch.randn(50, 1024), "cat": torch.randn(50, 1024)})
    )
    before = Path.cwd()
    os.chdir(root)
    yield root
    os.chdir(before)
    sys.modules.pop("my_audits", None)  # another page has a file of this name


def test_the_page_is_read():
    assert sum(kind == "bash" for kind, _ in BLOCKS) >= 7
    assert sum(kind == "python" for kind, _ in BLOCKS) == 3
    assert "{" not in "".join(body for kind, body in BLOCKS if kind == "bash")  # commands are whole


@pytest.mark.parametrize("number", range(len(BLOCKS)), ids=lambda number: f"{BLOCKS[number][0]}-{number}")
def test_every_block_runs(number, here, capsys):
    run(number)
    if number == 0:
        assert (here / "contact-sheet.png").stat().st_size > 0


def run(number):
    """A block of the page, as a reader runs it."""
    kind, body = BLOCKS[number]
    if kind == "python":
        exec(compile(body, f"your-data.md, block {number}", "exec"), {})
        return
    for line in body.strip().splitlines():
        program, *arguments = shlex.split(line)
        assert program == "ironbind", line
        quick = ["--steps", "2"] if arguments[0] == "audit" else []  # as written they take twenty
        done = CliRunner().invoke(app, [*arguments, *quick], catch_exceptions=False)
        assert done.exit_code == 0, f"{line}\n{done.output}"
        if "--out" in arguments and arguments[0] == "audit":
            out = Path(arguments[arguments.index("--out") + 1])
            assert {row.n for row in Result.read(out).rows}
            assert (out / "report.html").exists()


def test_what_the_commands_found(here, capsys):
    if not all((here / "runs" / name / "result.json").exists() for name in ("pets-csv", "pets-l2")):
        for number in range(len(BLOCKS)):  # other test processes ran the blocks
            run(number)
    assert {row.task for row in Result.read(here / "runs/pets-csv").rows} == {
        "zero_shot",
        "retrieval:image->text",
        "retrieval:text->image",
    }
    models = {row.threat_model for row in Result.read(here / "runs/pets-l2").rows}
    assert models == {"clean", "whitebox", "replayed", "adaptive"}
