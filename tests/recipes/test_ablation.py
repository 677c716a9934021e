"""`ironbind ablate` on toys: several calibrations on the same data, one table."""

import pytest

from ironbind.core.results import Result
from ironbind.recipes import ablation as ablate
from ironbind.recipes import world_and_folder as audits
from ironbind.recipes.world_and_folder import Choices
from ironbind.runs import data_spec as origins
from ironbind.runs import run_job as jobs
from ironbind.runs.run_jobs import run_jobs
from ironbind.types import InputError
from toys import Conv, ToyData


@pytest.fixture
def toys(monkeypatch):
    encoder = Conv()
    for module in (jobs, audits):
        monkeypatch.setattr(module, "encoder_for", lambda name, options: encoder)
    for module in (origins, audits):
        monkeypatch.setattr(module, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", 16)))
    return encoder


CHOSEN = Choices(modalities=("image", "thermal"), calibrations=("l2", "hardened_head", "hardened"), limit=12, steps=2)


def test_one_table(toys, tmp_path):
    run_jobs(ablate.jobs(CHOSEN, steps=2, samples=24), tmp_path)
    written = ablate.write_table(tmp_path)
    assert (tmp_path / "ablation.md").read_text() == written
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in written.splitlines()]
    assert tuple(lines[0]) == ablate.HEADER
    found = {(line[0], line[1]): dict(zip(ablate.HEADER, line, strict=True)) for line in lines[2:]}
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
    assert {one.written for job in ablate.jobs(CHOSEN) for budgets in job.budgets.values() for one in budgets} == {
        "4/255"
    }
    chosen = ablate.jobs(Choices(modalities=("image",), calibrations=("l2",), eps=("1/255", "2/255")))
    assert [one.written for budgets in chosen[0].budgets.values() for one in budgets] == ["1/255", "2/255"]
    by_samples, by_steps, own = (ablate.jobs(CHOSEN, *how)[0] for how in ((5000, None), (None, 7), (None, None)))
    assert (by_samples.train_samples, by_samples.train_steps) == (5000, 200)
    assert (by_steps.train_samples, by_steps.train_steps) == (None, 7)
    assert (own.train_samples, own.train_steps) == (None, None)


def test_nothing_to_compare_is_one_line(toys):
    with pytest.raises(InputError, match="--recipes is empty"):
        ablate.jobs(Choices())
    with pytest.raises(InputError, match="calibration 'hardend' is not known; did you mean 'hardened'"):
        ablate.jobs(Choices(calibrations=("hardend",)))
