"""The recipe that examines test-time defences, on toys: its rows, whatever the batches; what reads a run; examples."""

from dataclasses import replace

import pytest

from ironbind.core.results import Result
from ironbind.defences import DEFENCES
from ironbind.defences.counterattack import Counterattack
from ironbind.defences.quantisation import Quantisation
from ironbind.defences.recompression import Recompression
from ironbind.evidence.pack import write_pack
from ironbind.gate.gate import gate
from ironbind.gate.requirement import requirement
from ironbind.gate.settings import GateSettings
from ironbind.recipes import AUDITS
from ironbind.recipes.request import AuditRequest
from ironbind.recipes.test_time_defences import defences
from ironbind.report.terminal import summary
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.examined_defences import ExaminedDefence
from ironbind.runs.job import CheckSpec, Job
from ironbind.runs.run_job import run_job
from ironbind.runs.run_jobs import run_jobs
from ironbind.runs.stored_jobs.open_run import open_run
from ironbind.types import InputError, Linf
from toys import Conv, ToyData

TWO = tuple(
    ExaminedDefence(defence, steps=2, queries=2, draws=2, estimates=2, calibrated_on=8)
    for defence in (Counterattack(), Quantisation(bits=4))
)
PLACES = {"clean", "replayed", "adaptive"}


def pretend(patch):
    """Every job's encoder and data are toys."""
    encoder = Conv()
    patch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    patch.setattr(data_spec, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", 8)))


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    pretend(monkeypatch)


def job(**changes) -> Job:
    (made,) = defences(AuditRequest(modalities=("image",), limit=8, steps=2, eps=("6/255",)), names=("ttc",))
    return replace(made, defences=TWO, checks=CheckSpec(black_box=None), **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        pretend(patch)
        folder = tmp_path_factory.mktemp("runs") / "defences"
        run_jobs([job()], folder)
    return folder


def test_every_defence_has_its_three_rows(run):
    rows = [row for row in Result.read(run).rows if (row.task, row.metric) == ("zero_shot", "top1")]
    for title in ("conv+ttc", "conv+quantisation"):
        assert {row.threat_model for row in rows if row.encoder == title} == PLACES
        by = {row.threat_model: row for row in rows if row.encoder == title}
        assert by["replayed"].eps == by["adaptive"].eps == "6/255"
        assert by["adaptive"].ci_low <= by["adaptive"].value <= by["adaptive"].ci_high
    assert {row.threat_model for row in rows if row.encoder == "conv"} == {"clean", "whitebox"}
    (quantised,) = [row for row in rows if (row.encoder, row.threat_model) == ("conv+quantisation", "adaptive")]
    assert "unchecked" not in quantised.checks
    (drawn,) = [row for row in rows if (row.encoder, row.threat_model) == ("conv+ttc", "adaptive")]
    assert drawn.checks == "unchecked"
    record = Result.read(run).record["defences image pixels"]
    assert [(each["forward_passes_per_query"], each["gradient_passes_per_query"]) for each in record] == [
        (3, 2),
        (1, 0),
    ]


def test_a_detector_has_rows_of_its_own(run):
    rows = [row for row in Result.read(run).rows if row.task == "caught:zero_shot"]
    assert {row.encoder for row in rows} == {"conv+ttc"}
    value = {(row.metric, row.threat_model): row.value for row in rows}
    assert {metric for metric, _ in value} == {"caught_or_right", "flagged", "auroc"}
    for model in ("replayed", "adaptive"):
        assert value["caught_or_right", model] >= value["flagged", model]
        assert 0 <= value["auroc", model] <= 100


def test_what_reads_a_run_reads_this_one(run):
    assert "+ttc" in summary(run)
    assert "+quantisation" in (run / "report.md").read_text(encoding="utf-8")
    wanted = "image 6/255 adaptive encoder=conv+quantisation >= 0"
    assert gate(run, GateSettings((requirement(wanted),))).met
    unchecked = "image 6/255 adaptive encoder=conv+ttc >= 0"
    assert not gate(run, GateSettings((requirement(unchecked),))).met


def test_the_example_behind_a_verdict(run):
    for title in ("conv+ttc", "conv+quantisation"):
        for model in ("replayed", "adaptive"):
            where = {"encoder": title, "threat_model": model, "task": "zero_shot"}
            for example in open_run(run).examples(**where):
                assert (example.adversarial - example.clean).abs().max() <= 6 / 255 + 1e-6


def test_evidence_of_a_defended_number_is_judged_by_the_defence(run, tmp_path):
    """On the first draw, which verdicts.csv holds, every example is adversarial to the defended encoder."""
    found = {each.row.encoder: each for each in write_pack(run, tmp_path) if "+" in each.row.encoder}
    assert set(found) == {"conv+ttc", "conv+quantisation"}
    for title, each in found.items():
        assert each.count("exact_adversarial") == len(each.examples) > 0
        assert title in each.line
    folders = {example["file"].rpartition("/")[0] for each in found.values() for example in each.examples}
    assert len(folders) == 2


def test_batches_change_nothing(run, tmp_path):
    outcome = run_job(job(batch_size=3), tmp_path)
    numbers = {replace(row, checks="") for row in outcome.result.rows}
    assert {replace(row, checks="") for row in Result.read(run).rows} == numbers


def test_where_a_defence_has_no_meaning(tmp_path):
    audio = replace(job(), modality="audio", spaces=("logmel",), budgets={"logmel": (Linf("4/255"),)})
    outcome = run_job(replace(audio, defences=(replace(TWO[1], defence=Recompression()),)), tmp_path)
    assert {row.encoder for row in outcome.result.rows} == {"conv"}
    (line,) = [check for check in outcome.result.checks if check.name == "a defence was left out"]
    assert line.detail.startswith("conv+recompression has no meaning for audio in logmel: codecs work on the sound")


def test_the_recipe():
    (made,) = AUDITS["defences"](AuditRequest(modalities=("image",), limit=4))
    assert [each.defence.name for each in made.defences] == list(DEFENCES)
    assert made.budgets == {"pixels": (Linf("4/255"),)}
    with pytest.raises(InputError, match="--attack pgd: recipe 'defences' has no use for it"):
        AUDITS["defences"](AuditRequest(modalities=("image",), attack="pgd"))
