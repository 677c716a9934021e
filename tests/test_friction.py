"""What a trial of a day stumbled over: short reprs, reports of results in memory, lines instead of tracebacks."""

import json

import pytest

import ironbind as ib
from ironbind.__main__ import main
from ironbind.recipes.request import AuditRequest, attacks_of, budgets_of
from ironbind.recipes.train_calibration import TrainingRequest, replaced_calibration
from ironbind.recipes.user_jobs import user_jobs
from ironbind.types import InputError
from toys import Conv, ToyData


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["ironbind", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def result():
    task = ib.zero_shot(Conv(), ToyData(8), "image")
    return ib.audit(task, ib.attacks.PGD(steps=1), ib.Linf("4/255"), checks=False)


def test_reprs_are_short(result):
    tiny, world = ib.load_encoder("tiny"), ib.load_dataset("world", n=4)
    for value in (
        tiny,
        world,
        ib.zero_shot(tiny, world, "image"),
        ib.retrieval(tiny, world, "image"),
        ib.from_pretrained(),
    ):
        assert len(repr(value)) < 200, repr(value)
        assert "\n" not in repr(value)
    lines = repr(result).splitlines()
    assert len(lines) == 3
    assert "top1" in lines[1]
    assert "8" in repr(ib.zero_shot(Conv(), ToyData(8), "image"))


def test_prepared_samples_are_contiguous():
    tiny = ib.load_encoder("tiny")
    for modality, spec in tiny.inputs.items():
        for space in spec.spaces:
            task = ib.zero_shot(tiny, ib.load_dataset("world", n=2), modality, space=space)
            assert task.load([0, 1]).is_contiguous(), (modality, space)


def test_a_result_in_memory_has_a_report(result, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ib.write_report(result) == ib.write_report(result, "runs/zero_shot")
    page = ib.write_report(result, tmp_path / "mine")
    assert {path.name for path in page.parent.iterdir()} == {"report.html", "report.md", "table.csv"}
    assert "conv" in page.read_text(encoding="utf-8")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "result.json").write_text("{}")
    with pytest.raises(InputError, match="would overwrite the run in .*other"):
        ib.write_report(result, tmp_path / "other")


def test_an_audit_into_a_folder_leaves_a_report(tmp_path):
    task = ib.zero_shot(Conv(), ToyData(4), "image")
    ib.audit(task, ib.attacks.PGD(steps=1), ib.Linf("4/255"), checks=False, out=tmp_path / "run")
    assert {"report.html", "report.md"} <= {path.name for path in (tmp_path / "run").iterdir()}


def test_choices_that_would_decide_nothing():
    assert len(attacks_of(AuditRequest(attack="pgd,pgd"))) == 1
    with pytest.raises(InputError, match="--eps 0 leaves nothing to perturb; expected radii above 0"):
        budgets_of(AuditRequest(eps=("0", "4/255")), "image", ("pixels",))
    with pytest.raises(InputError, match="epsilon '5%' is a percentage, of which norm 'l2' knows no whole"):
        ib.L2("5 %")
    assert ib.EventShare("5 %").radius == 0.05


def test_a_recipe_is_named_in_its_own_refusals(monkeypatch, capsys):
    for recipe in ("hub", "illusion"):
        assert run(monkeypatch, "audit", recipe, "--layout", "esc50") == 2
        assert f"--layout esc50: recipe '{recipe}' has no use for it" in capsys.readouterr().err


def test_functions_of_the_user_that_raise_are_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "raises_here.py").write_text(
        "def jobs(request):\n    return [int('three')]\n\n\ndef load():\n    return {}['weights']\n"
        "\n\ndef stubborn(request):\n    import ironbind as ib\n    return ib.Job('thermal')\n"
    )
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "audit", "raises_here.py:jobs") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "raised ValueError: invalid literal" in line
    assert "raises_here.py, line 2)" in line
    assert run(monkeypatch, "audit", "world", "--encoder", "raises_here.py:load") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--encoder raises_here.py:load: raised KeyError: 'weights'" in line
    user_jobs("raises_here.py:stubborn", AuditRequest(modalities=("image",)))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("returns jobs of thermal although --modality is image; they are run as they are")


def test_data_of_several_layouts_are_a_problem_of_the_data(tmp_path, monkeypatch, capsys):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("filename,fold,target,category\n")
    (tmp_path / "list.csv").write_text("image,label\nball/0.png,ball\n")
    assert run(monkeypatch, "data", "check", tmp_path) == 1
    assert "looks like several layouts" in capsys.readouterr().err


def test_a_calibration_that_is_replaced_is_named(tmp_path):
    request = TrainingRequest("l2", modalities=("image",))
    assert replaced_calibration(tmp_path, request) == []
    about = {"calibration": "infonce", "modalities": ["audio"], "made_by": "ironbind calibrate infonce"}
    (tmp_path / "calibration.json").write_text(json.dumps(about))
    (line,) = replaced_calibration(tmp_path, request)
    assert line == f"{tmp_path} holds 'infonce' for audio; this run replaces it when it ends"
    (tmp_path / "calibration.json").write_text(json.dumps({**about, "made_by": request.command(("image",))}))
    assert replaced_calibration(tmp_path, request) == []
