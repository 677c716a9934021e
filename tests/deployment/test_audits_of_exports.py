"""What is deployed is what was audited: an audit of the exported file gives the live adapters' verdicts, sample by
sample, under the file's hash.
"""

import csv

import pytest
from typer.testing import CliRunner

from ironbind.calibration.calibrated import load_calibrated
from ironbind.cli import app
from ironbind.core.results import Result
from ironbind.encoders import load_encoder
from ironbind.encoders.shared.checkpoint import file_sha256
from trained_parts import FOLDABLE, trained

AUDIT = ["audit", "world", "--modality", "image", "--limit", "40", "--eps", "2/255", "--attack", "pgd", "--steps", "5"]


def run(*arguments):
    outcome = CliRunner().invoke(app, [*map(str, arguments)])
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def verdicts(folder, threat_model):
    """Of the calibrated encoder, or (threat model whitebox) of the plain one: (sample, threat model) -> correct."""
    with (folder / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["threat_model"] in ("clean", threat_model)]
    plain = threat_model == "whitebox"
    return {
        (row["sample"], "clean" if row["threat_model"] == "clean" else "attacked"): row["correct"]
        for row in rows
        if row["task"] == "zero_shot" and plain == (row["calibration"] == "none")
    }


def test_verdicts_are_those_of_the_live_adapters(tmp_path):
    hard = trained(load_encoder("tiny"), "image", FOLDABLE)
    hard.save(tmp_path / "hard")
    out = tmp_path / "folded.safetensors"
    told = run("export", "--heads", tmp_path / "hard", "--modality", "image", "--format", "official", "--out", out)
    assert file_sha256(out) in told
    run(*AUDIT, "--heads", tmp_path / "hard", "--out", tmp_path / "live")
    run(*AUDIT, "--encoder", "tiny", "--weights", out, "--out", tmp_path / "exported")
    live, exported = verdicts(tmp_path / "live", "adaptive"), verdicts(tmp_path / "exported", "whitebox")
    assert len(live) >= 80
    assert exported == live
    assert file_sha256(out) in (tmp_path / "exported" / "result.json").read_text(encoding="utf-8")
    assert Result.read(tmp_path / "exported").rows


def test_parts_fit_the_encoder_they_were_trained_on_alone(tmp_path):
    hard = trained(load_encoder("tiny"), "image", FOLDABLE)
    hard.save(tmp_path / "hard")
    with pytest.raises(ValueError, match="was trained on"):
        load_calibrated(load_encoder("imagebind-huge", weights="random", modalities=["imu"]), tmp_path / "hard")
