"""docs/your-own-audit.md: every example of the page makes jobs that run, on files like those it describes."""

import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import ironbind as ib
from ironbind.cli import app
from ironbind.core.results import Result
from ironbind.encoders.tiny.encoder import WEIGHTS
from ironbind.recipes.request import AuditRequest
from ironbind.runs.run_jobs import run_jobs
from layouts.tiny_pictures import picture
from layouts.tiny_sounds import EXAMPLES as SOUNDS
from layouts.tiny_sounds import text

PAGE = (Path(__file__).parents[1] / "docs" / "your-own-audit.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CODE = "\n\n".join(EXAMPLES)

# an encoder whose function takes a precision, which the built-in one does not
CAST = """
import torch
import ironbind as ib
from ironbind.encoders.from_callable import from_callable

def load(dtype=torch.float32):
    tiny = ib.load_encoder("tiny")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, tiny.dim)).to(dtype)
    inputs = {"image": tiny.inputs["image"]}
    functions = {"image": lambda x: network(x.to(dtype)).float()}
    return from_callable(str(dtype), functions, inputs=inputs, text=tiny.embed_text, model=network)
"""

IMAGE = AuditRequest(modalities=("image",), limit=4, steps=1, eps=("4/255",))
PETS = replace(IMAGE, data="pets")
CSV = ("columns.image=photo", "columns.label=species", "columns.caption=told")
# function -> what it is asked, and what its table must show
ASKED = {
    "my_prompts": (PETS, {}),
    "my_centers": (PETS, {}),
    "averaged": (IMAGE, {"attack": {"none", "eot4(pgd1-margin)+eot4(pgd1-ce)"}}),
    "half_the_precision": (IMAGE, {"attack": {"none", "pgd1-margin-bf16+pgd1-ce-bf16"}}),
    "restarted": (IMAGE, None),
    "trained_here": (PETS, {"threat_model": {"clean", "whitebox", "replayed", "adaptive"}}),
    "with_captions": (
        replace(IMAGE, data="pets.csv", data_options=CSV),
        {"task": {"zero_shot", "retrieval:image->text", "retrieval:text->image"}},
    ),
    "of_the_world": (IMAGE, {"task": {"zero_shot", "retrieval:image->text", "retrieval:text->image"}}),
    "transferred": (IMAGE, {"threat_model": {"clean", "transfer"}, "attack": {"none", "transfer-tiny"}}),
    "fitted_elsewhere": (replace(PETS, limit=None), {"attack": {"none", "universal"}, "n": {4}}),
    "small_weights": (replace(IMAGE, encoder=ib.EncoderSpec("cast.py:load")), {"encoder": {"torch.bfloat16"}}),
    "some_of_the_cell": (AuditRequest(data="esc50"), None),
    "two_sizes": (None, None),
}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with the files of the page, `my_audits.py` among them; what runs, runs in it."""
    root = tmp_path_factory.mktemp("page")
    for folder, first in (("pets", 0), ("more-pets", 50)):
        for label, name in enumerate(("cat", "guinea_pig")):
            for number in (1, 2):
                picture(root / folder / name / f"{number}.png", "png", first + 10 * label + number)
    rows = [f"pets/{row}" for row in ("cat/1.png,cat,a small one", "cat/2.png,cat,a tall one that is red")]
    rows += [f"pets/guinea_pig/{row}" for row in ("1.png,guinea pig,a round one", "2.png,guinea pig,a large round one")]
    text(root / "pets.csv", "\n".join(["photo,species,told", *rows]))
    text(root / "prompts.txt", "a photo of my {}.\nthe {}\n")
    width = ib.load_encoder("tiny").dim
    centers = {name: torch.eye(width)[number : number + 1] for number, name in enumerate(("cat", "guinea pig"))}
    save_file(centers, root / "pets.safetensors")
    weights = load_file(WEIGHTS)
    save_file({name: 0.9 * tensor.float() for name, tensor in weights.items()}, root / "other.safetensors")
    SOUNDS["esc50"](root / "esc50")
    (root / "cast.py").write_text(CAST)
    (root / "my_audits.py").write_text(CODE)
    (root / "my_encoder.py").write_text(CODE)
    before, path = Path.cwd(), list(sys.path)
    os.chdir(root)
    yield root
    os.chdir(before)
    sys.path[:] = path
    for name in ("cast", "my_audits", "my_encoder"):
        sys.modules.pop(name, None)


def test_every_function_of_the_page_is_tried():
    assert set(re.findall(r"^def (\w+)", CODE, re.MULTILINE)) == {*ASKED, "load"}


@pytest.mark.parametrize("name", ASKED)
def test_its_jobs_run(name, here):
    """As they are written, but for the checks, which are tested elsewhere and take long."""
    namespace: dict = {}
    exec(compile(CODE, "docs/your-own-audit.md", "exec"), namespace)
    request, expected = ASKED[name]
    jobs = namespace[name]() if request is None else namespace[name](request)
    assert jobs
    assert all(isinstance(job, ib.Job) for job in jobs)
    if expected is None:
        return
    quick = [replace(job, checks=ib.CheckSpec("not asked here", None), gallery_items=0) for job in jobs]
    run_jobs(quick, here / "runs" / name)
    rows = Result.read(here / "runs" / name).rows
    assert {"4/255"} <= {row.eps for row in rows}
    for column, values in expected.items():
        assert {getattr(row, column) for row in rows if not row.task.startswith("index:")} == values


def test_what_the_examples_say_reaches_the_jobs(here):
    namespace: dict = {}
    exec(compile(CODE, "docs/your-own-audit.md", "exec"), namespace)
    (prompted,) = namespace["my_prompts"](PETS)
    (compared,) = namespace["my_centers"](PETS)
    assert (prompted.centers.prompts, compared.centers.file) == ("prompts.txt", "pets.safetensors")
    (restarted,) = namespace["restarted"](IMAGE)
    assert [attack.restarts for attack in restarted.attacks] == [5, 1]
    (cell,) = namespace["some_of_the_cell"](AuditRequest(data="esc50"))
    assert [recipe.name for recipe in cell.training.recipes] == ["l2", "infonce"]


def test_centers_and_prompts_change_what_is_found(here):
    """The same pictures, compared with three kinds of centers: every table says its own."""
    namespace: dict = {}
    exec(compile(CODE, "docs/your-own-audit.md", "exec"), namespace)
    plain = ib.recipes.folder(PETS)
    margins = []
    for name, jobs in (("plain", plain), ("p", namespace["my_prompts"](PETS)), ("c", namespace["my_centers"](PETS))):
        quick = [
            replace(job, attacks=job.attacks[:1], checks=ib.CheckSpec("no", None), gallery_items=0) for job in jobs
        ]
        run_jobs(quick, here / "runs" / f"compared-{name}")
        lines = (here / "runs" / f"compared-{name}" / "verdicts.csv").read_text().splitlines()
        margins.append([line for line in lines if ",clean," in line])
    assert margins[0] != margins[1] != margins[2] != margins[0]


def test_commands_run(here):
    (command,) = (line for block in COMMANDS for line in block.strip().splitlines())
    program, *arguments = shlex.split(command)
    assert program == "ironbind"
    done = CliRunner().invoke(app, [*arguments, "--steps", "1", "--eps", "4/255"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert {row.n for row in Result.read(Path("runs/my-prompts")).rows} == {4}


def test_the_encoder_of_the_page_is_one(here):
    encoder = ib.EncoderSpec("my_encoder.py:load").load()
    assert (encoder.name, tuple(encoder.inputs)) == ("mine", ("image",))
    assert encoder.embed_text(["a cat"]).shape == (1, encoder.dim)
