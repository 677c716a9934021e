"""The names that others build on."""

import dataclasses

import pytest

import ironbind as ib
from ironbind.core.results import COLUMNS, THREAT_MODELS, Result, Row


def test_python_names():
    for name in (
        "load_encoder",
        "load_dataset",
        "zero_shot",
        "retrieval",
        "audit",
        "calibrate",
        "Linf",
        "L2",
        "load_calibrated",
        "write_report",
    ):
        assert callable(getattr(ib, name)), name
    assert ib.attacks.PGD(steps=5).steps == 5
    assert ib.attacks.FGSM()
    assert ib.attacks.APGD(steps=50)
    assert ib.recipes.paper_v1("infonce").name == "infonce"
    assert issubclass(ib.InputError, ValueError)
    assert ib.__version__


def test_calibrate_is_the_function_whatever_was_imported_first():
    import ironbind.calibration.calibrate

    assert ib.calibrate is ironbind.calibration.calibrate.calibrate


def test_every_public_name_is_there():
    for name in ib.__all__:
        assert getattr(ib, name) is not None
    assert set(ib.__all__) <= set(dir(ib))
    with pytest.raises(AttributeError, match="module 'ironbind' has no attribute 'attack'"):
        ib.attack  # noqa: B018


def test_encoder_members():
    from ironbind.types import Encoder
    from toys import Conv

    encoder = Conv()
    assert isinstance(encoder, Encoder)
    assert callable(encoder.embed)
    assert callable(encoder.embed_text)
    assert "image" in encoder.inputs


def test_table_columns():
    contract = (
        "encoder,calibration,modality,space,task,metric,attack,norm,eps,threat_model,value,ci_low,ci_high,n,checks"
    )
    assert ",".join(COLUMNS) == contract
    assert tuple(field.name for field in dataclasses.fields(Row)) == COLUMNS
    assert set(THREAT_MODELS) == {"clean", "whitebox", "replayed", "adaptive", "transfer", "corrupted", "certified"}


def test_run_folders(tmp_path):
    from toys import Conv, ToyData

    result = ib.audit(
        ib.zero_shot(Conv(), ToyData(8), "image"),
        attack=ib.attacks.PGD(steps=1),
        budget=ib.Linf("4/255"),
        out=tmp_path / "run",
    )
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {
        "table.csv",
        "verdicts.csv",
        "result.json",
        "verdicts.sqlite",
    }
    assert {row.eps for row in result.rows} == {"0", "4/255"}
    assert Result.read(tmp_path / "run").rows == result.rows
    assert (tmp_path / "run" / "table.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
