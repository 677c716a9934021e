"""`ironbind ablate` on toys: several calibrations on the same data, one table."""

import pytest

from ironbind.core.results import Result
from ironbind.recipes import ablation, world_and_folder
from ironbind.recipes.request import AuditRequest
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.run_jobs import run_jobs
from ironbind.types import InputError
from toys import Conv, ToyData


@pytest.fixture
def toys(monkeypatch):
    encoder = Conv()
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    for module in (data_spec, world_and_folder):
        monkeypatch.setattr(module, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", 16)))
    return encoder


REQUEST = AuditRequest(modalities=("image", "thermal"), limit=12, steps=2)
RECIPES = ("l2", "hardened_head", "hardened")


def test_one_table(toys, tmp_path):
    run_jobs(ablation.jobs(REQUEST, RECIPES, steps=2, samples=24), tmp_path)
    written = ablation.write_table(tmp_path)
    assert (tmp_path / "ablation.md").read_text() == written
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in written.splitlines()]
    assert tuple(lines[0]) == ablation.HEADER
    found = {(line[0], line[1]): dict(zip(ablation.HEADER, line, strict=True)) for line in lines[2:]}
    assert list(found) == [
        (modality, name) for modality in ("image", "thermal") for name in ("none", "l2", "hardened_head", "hardened")
    ]
    result = Result.read(tmp_path)
    for (modality, name), row in found.items():
        if name == "none":
            assert float(row["adaptive"]) == pytest.approx(
                result.value(modality=modality, threat_model="whitebox", metric="top1"), abs=0.05
            )
            continue
        for threat_model in ("clean", "replayed", "adaptive"):
            of = {"modality": modality, "calibration": name, "metric": "top1", "threat_model": threat_model}
            assert float(row[threat_model]) == pytest.approx(result.value(**of), abs=0.05)
        cosine = result.value(modality=modality, calibration=name, metric="cosine")
        assert float(row["cosine"]) == pytest.approx(cosine, abs=5e-4)
        served = result.value(modality=modality, calibration=name, metric="R@10", task=f"index:{modality}->text")
        assert float(row["old index"]) == pytest.approx(served, abs=0.05)
        (record,) = [one for one in result.calibrations if (one.name, one.modality) == (name, modality)]
        assert row["trained"] == f"{record.trainable:,}"
        assert row["of all"] == f"{100 * record.trainable / record.encoder_parameters:.2f} %"
        tower = max(one.tower_parameters for one in result.calibrations if one.modality == modality)
        assert row["of its tower"] == f"{100 * record.trainable / tower:.2f} %"
    seen = {name: row["samples seen"] for (modality, name), row in found.items() if modality == "image"}
    assert seen == {"none": "", "l2": f"{24 * 30}", "hardened_head": "50", "hardened": "50"}
    assert {row["parts"] for (_, name), row in found.items() if name == "hardened"} == {"low_rank+norms+purifier"}


def test_the_headline_radius_unless_others_are_chosen(toys):
    jobs = ablation.jobs(REQUEST, RECIPES)
    assert {budget.written for job in jobs for budgets in job.budgets.values() for budget in budgets} == {"4/255"}
    (job,) = ablation.jobs(AuditRequest(modalities=("image",), eps=("1/255", "2/255")), ("l2",))
    assert [budget.written for budgets in job.budgets.values() for budget in budgets] == ["1/255", "2/255"]
    for chosen, samples, steps in (({"samples": 5000}, 5000, 200), ({"steps": 7}, None, 7), ({}, None, None)):
        training = ablation.jobs(REQUEST, RECIPES, **chosen)[0].training
        assert (training.samples, training.steps, training.data) == (samples, steps, None)
        assert [recipe.name for recipe in training.recipes] == list(RECIPES)
    training = ablation.jobs(REQUEST, RECIPES, data="elsewhere")[0].training
    assert training.data == data_spec.DataSpec("folder", "elsewhere", {"modality": "image"})


def test_nothing_to_compare_is_one_line(toys):
    with pytest.raises(InputError, match="--recipes is empty"):
        ablation.jobs(AuditRequest(), ())
    with pytest.raises(InputError, match="calibration 'hardend' is not known; did you mean 'hardened'"):
        ablation.jobs(AuditRequest(), ("hardend",))
