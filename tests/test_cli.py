"""The command line as a user meets it: quick help, one clear line for a mistake, exit codes, real runs on tiny data."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image as Picture

from command_line import Finished, ironbind
from ironbind.recipes.request import AuditRequest, budgets_of
from ironbind.types import InputError


def one_line(done: Finished, *wanted: str) -> None:
    """The run failed, and said why in one line that holds all of `wanted`."""
    assert done.returncode not in (0, 1), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for part in wanted:
        assert part in lines[0], lines[0]


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("bell", "drum"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for i in range(3):
            soundfile.write(tmp_path / "sounds" / name / f"{i}.wav", 0.1 * rng.standard_normal(8000), 8000)
    return tmp_path / "sounds"


def test_help_loads_no_torch_and_every_command_has_help() -> None:
    code = "import sys; sys.argv = ['ironbind', '--help']\nfrom ironbind.__main__ import main\n"
    code += "try:\n    main()\nexcept SystemExit:\n    assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "audit", "calibrate", "report", "ls", "weights", "world"):
        assert command in done.stdout
        assert ironbind(command, "--help").returncode == 0


def test_version() -> None:
    from ironbind import __version__

    assert ironbind("--version").stdout.split() == ["ironbind", __version__]


def test_audit_of_a_folder_writes_everything_and_goes_on_where_it_stopped(sounds: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    arguments = ("audit", "folder", "--modality", "audio", "--data", sounds, "--steps", "2", "--out", out)
    done = ironbind(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"report: {out / 'report.html'}"
    for name in ("table.csv", "result.json", "verdicts.sqlite", "report.html", "report.md"):
        assert (out / name).stat().st_size > 0
    rows = list(csv.DictReader((out / "table.csv").open()))
    assert {row["threat_model"] for row in rows} == {"clean", "whitebox"}
    assert {row["eps"] for row in rows} == {"0", "1/255", "2/255", "4/255", "8/255"}
    assert {row["n"] for row in rows} == {"6"}
    table = (out / "table.csv").read_text()
    before = (out / "verdicts.sqlite").read_bytes()
    assert ironbind(*arguments).returncode == 0
    assert (out / "table.csv").read_text() == table
    assert (out / "verdicts.sqlite").read_bytes() == before


def test_world_export_reads_back(tmp_path: Path) -> None:
    done = ironbind("world", "export", tmp_path / "world", "--n", "6", "--modality", "image,audio")
    assert done.returncode == 0, done.stderr
    folder = ("--modality", "image", "--data", tmp_path / "world")
    done = ironbind("audit", "folder", *folder, "--eps", "4/255", "--steps", "1", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("spoilt", ["not a sound", "truncated", "nan"])
def test_a_file_that_cannot_be_used_is_named(sounds: Path, tmp_path: Path, spoilt: str) -> None:
    bad = sounds / "bell" / "1.wav"
    if spoilt == "not a sound":
        bad.write_bytes(b"hello, I am not a sound")
    elif spoilt == "truncated":
        bad.write_bytes(bad.read_bytes()[:30])
    else:
        soundfile.write(bad, np.full(8000, np.nan), 8000, subtype="FLOAT")
    one_line(
        ironbind("audit", "folder", "--modality", "audio", "--data", sounds, "--steps", "1", "--out", tmp_path / "run"),
        "1.wav",
    )


def test_unreadable_files_can_be_left_out(sounds: Path, tmp_path: Path) -> None:
    (sounds / "bell" / "1.wav").write_bytes(b"hello")
    folder = ("--modality", "audio", "--data", sounds, "--data-option", "skip_unreadable=true")
    attack = ("--space", "waveform", "--eps", "1/255", "--steps", "1")
    done = ironbind("audit", "folder", *folder, *attack, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert {row["n"] for row in csv.DictReader((tmp_path / "run" / "table.csv").open())} == {"5"}


def test_mistakes_get_one_line(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    Picture.new("RGB", (8, 8)).save(tmp_path / "pictures" / "cat" / "a.png")
    (tmp_path / "afile").write_text("x")
    out = ("--out", tmp_path / "run")
    folder = ("audit", "folder", "--modality", "audio", "--data")
    one_line(ironbind(*folder, tmp_path / "nowhere", *out), "nowhere")
    one_line(ironbind(*folder, tmp_path / "empty", *out), "empty")
    one_line(ironbind(*folder, tmp_path / "pictures", *out), "pictures", ".wav")
    one_line(ironbind("audit", "folder", "--modality", "audio", *out), "--data")
    one_line(ironbind("audit", "folder", "--data", sounds, *out), "--modality")
    one_line(ironbind("audit", "folder", "--modality", "audoi", "--data", sounds, *out), "audoi", "audio")
    one_line(ironbind("audit", "foldr", "--data", sounds, *out), "foldr", "folder")
    one_line(ironbind(*folder, sounds, "--encoder", "imagebind", *out), "imagebind", "imagebind-huge")
    one_line(ironbind(*folder, sounds, "--eps", "4/255", *out), "--space", "waveform", "logmel")
    one_line(ironbind(*folder, sounds, "--eps", "four", "--space", "logmel", *out), "four")
    one_line(ironbind(*folder, sounds, "--norm", "l7", "--eps", "1", "--space", "logmel", *out), "l7")
    one_line(ironbind(*folder, sounds, "--norm", "l2", *out), "l2", "--eps")
    one_line(ironbind(*folder, sounds, "--space", "pixels", *out), "pixels", "waveform")
    one_line(ironbind(*folder, sounds, "--heads", tmp_path / "empty", *out), "calibration.json")
    ablate = ("ablate", "--modality", "audio", "--data", sounds, *out, "--recipes")
    one_line(ironbind(*ablate, "center_cf"), "center_cf", "center_ce")
    one_line(ironbind(*ablate, "center_ce"), "training split", "--train-data")
    one_line(ironbind(*folder, sounds, "--out", tmp_path / "afile"), "afile")
    one_line(ironbind("audit", "world", "--data-option", "split=tset", *out), "tset")
    one_line(ironbind("report", tmp_path / "empty"), "result.json")


def test_threat_models_other_than_an_attack_on_each_sound(sounds: Path, tmp_path: Path) -> None:
    folder = ("--modality", "audio", "--data", sounds, "--space", "waveform", "--eps", "1/255")
    done = ironbind("audit", "corruptions", *folder, "--out", tmp_path / "corruptions")
    assert done.returncode == 0, done.stderr
    assert " under 4 corruptions (worst " in done.stdout
    rows = list(csv.DictReader((tmp_path / "corruptions" / "table.csv").open()))
    assert {(row["threat_model"], row["norm"]) for row in rows} == {
        ("clean", "none"),
        ("corrupted", "severity"),
        ("corrupted", "linf"),
    }
    done = ironbind("audit", "universal", *folder, "--steps", "1", "--out", tmp_path / "universal")
    assert done.returncode == 0, done.stderr
    assert {row["attack"] for row in csv.DictReader((tmp_path / "universal" / "table.csv").open())} == {
        "none",
        "universal",
    }
    (perturbation,) = (tmp_path / "universal" / "universal").glob("audio-waveform-linf-1of255-*.npy")
    assert np.load(perturbation).shape == (1, 8000)
    one_line(ironbind("audit", "transfer", *folder, "--out", tmp_path / "refused"), "FILE.py:FUNCTION", "surrogate=")


def test_an_epsilon_needs_a_space_where_there_are_several() -> None:
    with pytest.raises(InputError, match="--space"):
        budgets_of(AuditRequest(eps=("4/255",)), "audio", ("logmel",))
    named = budgets_of(AuditRequest(eps=("4/255",), space="waveform"), "audio", ("waveform",))
    assert [one.written for one in named["waveform"]] == ["4/255"]
    assert [one.written for one in budgets_of(AuditRequest(), "audio", ("waveform",))["waveform"]] == [
        "0.2/255",
        "0.4/255",
        "0.8/255",
        "1.6/255",
    ]


def test_trained_heads_are_saved_audited_and_refused_elsewhere(tmp_path: Path) -> None:
    done = ironbind("calibrate", "l2", "--modality", "thermal", "--samples", "20", "--out", tmp_path / "heads")
    assert done.returncode == 0, done.stderr
    assert "trained 16,512 parameters" in done.stdout
    attack = ("--limit", "4", "--eps", "4/255", "--steps", "1")
    audit = ("audit", "world", *attack, "--heads", tmp_path / "heads", "--out", tmp_path / "run")
    done = ironbind(*audit, "--modality", "thermal")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "table.csv").open()))
    assert {row["threat_model"] for row in rows if row["calibration"] == "l2"} == {"clean", "replayed", "adaptive"}
    one_line(ironbind(*audit, "--modality", "image"), "thermal", "image")
    (tmp_path / "heads" / "heads.safetensors").write_bytes(b"short")
    one_line(ironbind(*audit, "--modality", "thermal"), "heads.safetensors")


def test_certificates_of_sounds(sounds: Path, tmp_path: Path) -> None:
    folder = ("--modality", "audio", "--data", sounds, "--space", "waveform", "--sigma", "0.02", "--draws", "20")
    out = ("--out", tmp_path / "proof", "--no-attack", "--limit", "2", "--progress", "json")
    done = ironbind("certify", "folder", *folder, "--eps", "60,40", "--norm", "snr", *out)
    assert done.returncode == 0, done.stderr
    assert '"step": "certify top 1"' in done.stderr
    assert "certified snr: " in done.stdout
    rows = list(csv.DictReader((tmp_path / "proof" / "table.csv").open()))
    assert {(row["metric"], row["norm"], row["eps"]) for row in rows if row["threat_model"] == "certified"} >= {
        ("certified_top1", "l2", "0"),
        ("certified_top1", "snr", "60dB"),
        ("certified_top1", "snr", "40dB"),
    }
    one_line(ironbind("certify", "folder", *folder, *out, "--confidence", "99.9"), "confidence 99.9")
    one_line(ironbind("certify", "hub", *out), "hub", "world, folder, data")
