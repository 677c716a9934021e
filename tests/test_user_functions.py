"""A function of the user's own as recipe and as encoder, from the command line: `FILE.py:FUNCTION` and
`package.module:FUNCTION`; in worker processes, in a run that was killed, and one line for whatever is wrong.
"""

import signal
import sqlite3
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import own_process
from ironbind.cli import app
from ironbind.core.results import Result
from ironbind.recipes.request import AuditRequest
from ironbind.recipes.user_jobs import user_jobs
from ironbind.types import InputError
from layouts.tiny_pictures import picture
from own_process import exit_code, running, text

AUDITS = '''
from dataclasses import dataclass, replace

import ironbind as ib
from ironbind.attacks import PGD

UNCHECKED = ib.CheckSpec("not asked here", None)


@dataclass(frozen=True)
class OneStep:
    """An attack of the user's own."""

    steps: int = 1
    name: str = "one-step"

    def __call__(self, embed, x, goal, space, budget, rng):
        return PGD(steps=self.steps)(embed, x, goal, space, budget, rng)


def own_attack(request):
    jobs = ib.recipes.world(request)
    return [replace(job, attacks=(OneStep(),), checks=UNCHECKED, gallery_items=0) for job in jobs]


def nothing_asked():
    data = ib.DataSpec(options={"n": 4, "split": "test"})
    return ib.Job("image", data=data, attacks=(OneStep(),), checks=UNCHECKED, gallery_items=0)


def inside():
    class Hidden(OneStep):
        pass

    return [
        ib.Job(modality, data=ib.DataSpec(options={"n": 2}), attacks=(Hidden(),), checks=UNCHECKED, gallery_items=0)
        for modality in ("image", "thermal")
    ]


def text():
    return "image"


def number(request):
    return 7


def empty(request):
    return []


def encoders(request):
    return [ib.load_encoder("tiny")]


def two(request, other):
    return []


NOT_A_FUNCTION = 3
'''

ENCODERS = """
import ironbind as ib
from ironbind.encoders.from_callable import from_callable

def load(modalities=None):
    tiny = ib.load_encoder("tiny")
    senses = ("image", "thermal")
    functions = {sense: lambda x, sense=sense: tiny.embed(sense, x) for sense in senses}
    inputs = {sense: tiny.inputs[sense] for sense in senses}
    return from_callable("mine", functions, inputs=inputs, text=tiny.embed_text, model=tiny.model)

def nothing():
    return None

def greedy(path):
    return load()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the user's files, in which commands run; its modules are forgotten afterwards."""
    (tmp_path / "own_audits.py").write_text(AUDITS)
    (tmp_path / "own_encoders.py").write_text(ENCODERS)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").write_text("")
    (tmp_path / "own_package" / "models.py").write_text(ENCODERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


@pytest.fixture
def pets(here) -> Path:
    for folder, first in (("pets", 0), ("more-pets", 50)):
        for label, name in enumerate(("ball", "cube")):  # words that the built-in text tower knows
            for number in range(2):
                picture(here / folder / name / f"{number}.png", "png", first + 10 * label + number)
    return here / "pets"


def ironbind(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def found(out: Path, column: str) -> set:
    return {getattr(row, column) for row in Result.read(out).rows}


# -------------------------------------------------------------------------------------------------------------- recipes


def test_a_function_of_the_request(here):
    ironbind("audit", "own_audits.py:own_attack", "--modality", "image", "--limit", 4, "--out", "run")
    assert found(here / "run", "attack") == {"none", "one-step"}
    assert (found(here / "run", "modality"), found(here / "run", "n")) == ({"image"}, {4})


def test_a_function_without_arguments_that_returns_a_single_job(here):
    said = ironbind("audit", "own_audits:nothing_asked")  # as an importable module
    assert f"report: {Path('runs') / 'own_audits-nothing_asked' / 'report.html'}" in said
    assert found(here / "runs" / "own_audits-nothing_asked", "attack") == {"none", "one-step"}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gone.py:f", (), "recipe .*gone.py: no such file; expected FILE.py:function"),
        ("gone.module:f", (), "recipe gone.module:f: No module named 'gone'; expected FILE.py:function"),
        ("own_audits.py:own_atack", (), "there is no function 'own_atack'; it holds .*own_attack"),
        ("own_audits.py:NOT_A_FUNCTION", (), "there is no function 'NOT_A_FUNCTION'"),
        ("broken.py:f", (), "recipe broken.py:f: importing it raised ZeroDivisionError: division by zero"),
        ("wrong.py:f", (), "recipe wrong.py:f: importing it raised SyntaxError"),
        (
            "needy.py:f",
            (),
            "recipe needy.py:f: No module named 'not_there_at_all'; expected everything that it imports",
        ),
        ("json.py:f", (), "a module cannot be called 'json' here; expected another file name"),
        ("own_audits.py:text", (), "recipe own_audits.py:text: returns str; expected a list of ironbind.Job"),
        ("own_audits.py:number", (), "returns int; expected a list of ironbind.Job"),
        ("own_audits.py:empty", (), "returns no job in its list; expected at least one ironbind.Job"),
        ("own_audits.py:encoders", (), "returns TinyEncoder in its list; expected at least one ironbind.Job"),
        ("own_audits.py:two", (), "missing a required argument: 'other'; expected a function of one argument"),
        (
            "own_audits.py:nothing_asked",
            ("--modality", "image", "--batch-size", 8, "--heads", "shipped"),
            "takes no request, so that it cannot use --heads, --modality, --batch-size; expected a function of one",
        ),
        ("own_audits.py:own_attack", ("--modality", "imge"), "modality 'imge' is not known; did you mean 'image'"),
        ("own_audits.py:inside", ("--workers", 2), "--workers 2: the image job cannot be handed to another process"),
    ],
)
def test_what_is_wrong_with_a_function_is_one_line(here, name, options, message):
    (here / "broken.py").write_text("1 / 0\n")
    (here / "wrong.py").write_text("def f(:\n")
    (here / "needy.py").write_text("import not_there_at_all\n")
    (here / "json.py").write_text("def f(): ...\n")
    with pytest.raises(InputError, match=message) as refusal:
        ironbind("audit", name, *options, "--out", "run")
    assert "\n" not in str(refusal.value)
    assert not list(here.glob("run/table.csv"))


def verdicts(out: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{out / 'verdicts.sqlite'}?mode=ro", uri=True)
        (count,) = connection.execute("SELECT COUNT(*) FROM verdict").fetchone()
        connection.close()
    except sqlite3.OperationalError:  # not there yet
        return 0
    return int(count)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows knows no such signal")
def test_a_run_in_workers_is_killed_and_goes_on(here):
    """Attack and encoder are of the user's files, and two processes work on them, which load them anew in the end."""
    audit = (
        "audit", "own_audits.py:own_attack", "--encoder", "own_encoders.py:load", "--modality", "image,thermal",
        "--limit", 12, "--batch-size", 2,
    )  # fmt: skip
    ironbind(*audit, "--out", "whole")
    workers = ("--workers", "2", "--out", "cut")
    with running(own_process.ironbind_with_forked_workers, *map(str, audit), *workers, said=here / "said") as killed:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and killed.is_alive() and verdicts(here / "cut") < 6:
            time.sleep(0.005)
        killed.kill()
        assert exit_code(killed) == -signal.SIGKILL, text(here / "said")
    assert not (here / "cut" / "table.csv").exists()
    ironbind(*audit, *workers)
    assert (here / "cut" / "table.csv").read_bytes() == (here / "whole" / "table.csv").read_bytes()
    assert verdicts(here / "cut") == verdicts(here / "whole")
    assert found(here / "cut", "encoder") == {"mine"}
    assert found(here / "cut", "attack") == {"none", "one-step"}


# ------------------------------------------------------------------------------------------------------------- encoders


@pytest.mark.parametrize("name", ["own_encoders.py:load", "own_package.models:load"])
def test_an_encoder_of_the_users_own_is_calibrated_and_audited(pets, here, name):
    ironbind(
        "calibrate", "l2", "--encoder", name, "--modality", "image", "--data", here / "more-pets", "--out", "heads"
    )
    folder = ("--modality", "image", "--data", pets, "--eps", "4/255", "--steps", 1)
    ironbind("audit", "folder", "--encoder", name, "--heads", "heads", *folder, "--out", "run")
    assert found(here / "run", "encoder") == {"mine"}
    assert found(here / "run", "threat_model") == {"clean", "whitebox", "replayed", "adaptive"}


def test_an_encoder_of_the_users_own_in_an_ablation(here):
    said = ironbind(
        "ablate", "--recipes", "l2", "--encoder", "own_encoders.py:load", "--modality", "thermal", "--limit", 4,
        "--samples", 8, "--out", "run",
    )  # fmt: skip
    assert "| thermal | l2 " in " ".join(said.split())
    assert found(here / "run", "encoder") == {"mine"}


def test_galleries_of_an_encoder_of_the_users_own(here):
    """Retrieval against the other modality and against text: the towers of both are loaded."""
    (here / "own_galleries.py").write_text(
        "import ironbind as ib\n"
        "from own_audits import own_attack\n"
        "def galleries(request):\n"
        "    extra = ib.ExtraTask('retrieval', ('text', 'image', 'audio'))\n"
        "    return [job.asking(extra) for job in own_attack(request)]\n"
    )
    ironbind(
        "audit", "own_galleries.py:galleries", "--encoder", "own_package.models:load", "--modality", "thermal",
        "--limit", 4, "--out", "run",
    )  # fmt: skip
    ways = {
        "retrieval:thermal->text",
        "retrieval:text->thermal",
        "retrieval:thermal->image",
        "retrieval:image->thermal",
    }
    assert found(here / "run", "task") == {"zero_shot", *ways}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_encoders.py:nothing", "--encoder own_encoders.py:nothing: it returns NoneType; expected an encoder"),
        ("own_encoders.py:laod", "there is no function 'laod'; it holds .*load"),
        (
            "own_encoders.py:greedy",
            "missing a required argument: 'path'; expected a function whose arguments may be left",
        ),
        ("own_package.modles:load", "--encoder own_package.modles:load: No module named 'own_package.modles'"),
        ("gone.py:load", "--encoder .*gone.py: no such file"),
    ],
)
@pytest.mark.parametrize("arguments", [("audit", "world"), ("calibrate", "l2"), ("ablate", "--recipes", "l2")])
def test_what_is_no_encoder_is_one_line(here, arguments, name, message):
    with pytest.raises(InputError, match=message) as refusal:
        ironbind(*arguments, "--encoder", name, "--modality", "image", "--out", "run")
    assert "\n" not in str(refusal.value)


def test_a_function_that_ends_the_program_is_an_error(tmp_path):
    file = tmp_path / "ends_the_program.py"
    file.write_text("import sys\n\n\ndef jobs(request):\n    sys.exit(0)\n", encoding="utf-8")
    with pytest.raises(InputError, match="ended the program"):
        user_jobs(f"{file}:jobs", AuditRequest())
