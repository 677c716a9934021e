"""A run folder opened again: its jobs are read back as values, and examples are crafted from them."""

import json
from dataclasses import dataclass, replace

import pytest
import torch

import ironbind as ib
from ironbind.attacks import APGD, FMN, PGD, bindattack
from ironbind.core.calibration import CalibrationRecipe
from ironbind.recipes.request import AuditRequest
from ironbind.recipes.world_and_folder import world
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.job import Job, TrainingSpec
from ironbind.runs.run_jobs import run_jobs
from ironbind.runs.stored_jobs.jobs_file import StoredJob, read_jobs, write_jobs
from ironbind.runs.task_attacks import FittedUniversal
from ironbind.types import SNR, InputError, Linf
from toys import Conv, ToyData

LADDER = (Linf("1/255"), Linf("4/255"))


@dataclass(frozen=True)
class Mine:
    """An attack of the user's own."""

    steps: int = 2
    name = "mine"

    def __call__(self, embed, x, goal, space, budget, rng):
        return PGD(steps=self.steps)(embed, x, goal, space, budget, rng)


@pytest.fixture
def _toys(monkeypatch):
    encoder = Conv()
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    monkeypatch.setattr(data_spec, "load_dataset", lambda name, path=None, **options: ToyData(8))


@pytest.mark.parametrize(
    "job",
    [
        Job("image"),
        Job("audio", budgets={"waveform": (SNR("30 dB"),)}, attacks=(bindattack("standard"), FittedUniversal())),
        Job("image", attacks=(), curve=(FMN(5),), corrupted=True, extra_tasks=(ib.ExtraTask("retrieval"),)),
        *world(AuditRequest(modalities=("thermal",), limit=4)),
    ],
    ids=["default", "ensemble", "curve", "recipe"],
)
def test_jobs_are_read_back_as_they_were(job, tmp_path):
    write_jobs([job], tmp_path)
    assert read_jobs(tmp_path) == [StoredJob(job)]


@pytest.mark.usefixtures("_toys")
def test_examples_of_every_number_of_a_run(tmp_path, monkeypatch):
    """Backbone, replayed and adaptive of what the run trained; a second space is not needed to tell jobs apart."""
    stage = ib.recipes.l2().stages[0]
    recipe = CalibrationRecipe("short", (replace(stage, epochs=1),), samples=8)
    monkeypatch.setattr("ironbind.calibration.calibrate.training_split", lambda dataset, samples: ToyData(8))
    job = Job("image", attacks=(PGD(steps=2), APGD(steps=3)), budgets={"pixels": LADDER})
    job = replace(job, training=TrainingSpec((recipe,)), extra_tasks=(ib.ExtraTask("retrieval", ("audio",)),))
    out = run_jobs(
        [job, replace(job, training=TrainingSpec(), extra_tasks=(), curve=(FMN(4),), attacks=(), gallery_items=0)],
        tmp_path / "run",
    ).parent
    opened = ib.open_run(out)
    places = {
        (row.calibration, row.task, row.attack, row.eps, row.threat_model)
        for row in opened.rows
        if not row.task.startswith("index:") and row.threat_model != "clean"
    }
    assert {threat_model for *_, threat_model in places} == {"whitebox", "replayed", "adaptive"}
    assert len({task for _, task, *_ in places}) == 3
    for calibration, task, attack, eps, threat_model in sorted(places):
        where = {"calibration": calibration, "task": task, "attack": attack, "eps": eps, "threat_model": threat_model}
        for example in opened.examples(ToyData(8).ids, **where):
            change = (example.adversarial - example.clean).abs().max()
            assert float(change) == pytest.approx(example.verdict.distance, abs=1e-7)
            assert example.place["threat_model"] == threat_model


@pytest.mark.usefixtures("_toys")
def test_attacks_of_the_users_own_need_the_jobs(tmp_path):
    job = Job("image", attacks=(Mine(),), budgets={"pixels": LADDER}, gallery_items=0)
    out = run_jobs([job], tmp_path / "run").parent
    sample = ToyData(8).ids[0]
    with pytest.raises(
        InputError, match="the image job holds .*Mine, which is not a value of ironbind; expected jobs="
    ):
        ib.open_run(out).example(sample, eps="4/255")
    example = ib.open_run(out, [job]).example(sample, eps="4/255")
    in_memory = ib.audit(
        ib.zero_shot(encoder_spec._loaded("", ()), ToyData(8), "image"), Mine(), LADDER, checks=False
    ).example(sample, eps="4/255")
    assert torch.equal(example.adversarial, in_memory.adversarial)


@pytest.mark.usefixtures("_toys")
def test_what_a_folder_cannot_say(tmp_path, monkeypatch):
    out = run_jobs([Job("image", attacks=(PGD(steps=1),), budgets={"pixels": LADDER})], tmp_path / "run").parent
    sample = ToyData(8).ids[0]
    monkeypatch.setattr(encoder_spec._loaded("", ()), "weights_sha256", "of another file")
    with pytest.raises(InputError, match="weights is of another file, was "):
        ib.open_run(out).example(sample, eps="4/255")
    (out / "jobs.json").write_text(json.dumps([{"class": "subprocess:Popen", "fields": {"args": "true"}}]))
    with pytest.raises(InputError, match="jobs.json does not hold the jobs of a run .*subprocess:Popen is not a value"):
        ib.open_run(out).example(sample, eps="4/255")
    (out / "jobs.json").unlink()
    with pytest.raises(InputError, match="jobs.json does not exist: .*; expected jobs="):
        ib.open_run(out).example(sample, eps="4/255")
    with pytest.raises(InputError, match="does not exist; expected the folder of a finished run"):
        ib.open_run(tmp_path / "nothing")
