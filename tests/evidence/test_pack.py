"""A pack of a real audit, re-read by a script that knows nothing of ironbind."""

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from PIL import Image

from ironbind.attacks import PGD
from ironbind.core.errors import InputError
from ironbind.core.results import Result
from ironbind.evidence.pack import COLUMNS, write_pack
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.job import CheckSpec, Job
from ironbind.runs.run_jobs import run_jobs
from ironbind.types import Linf

SCRIPT = """
import csv, hashlib, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
import soundfile
from PIL import Image

def read(path):
    if path.suffix == ".png":
        pixels = np.asarray(Image.open(path), dtype=np.float64)
        return pixels / (255 if pixels.ndim == 3 else 65535)
    if path.suffix == ".wav":
        return soundfile.read(path, dtype="float64")[0]
    return np.load(path)

pack = Path(sys.argv[1])
lines = list(csv.DictReader((pack / "examples.csv").open(newline="")))
for line in lines:
    far = np.abs(read(pack / line["file"]) - read(pack / line["clean_file"])).max()
    assert abs(far - float(line["distance"])) < 1e-9, line
    assert far <= float(Fraction(line["eps"].split("/")[0]) / 255) + 1e-6, line
    assert hashlib.sha256((pack / line["file"]).read_bytes()).hexdigest() == line["sha256"], line
assert not any(name.startswith(("ironbind", "torch")) for name in sys.modules)
print(len(lines), "examples,", sum(line["prediction"] != line["label"] for line in lines), "adversarial")
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Pictures with the shipped heads, thermal pictures and waveforms without."""
    folder = tmp_path_factory.mktemp("runs") / "audit"
    data = DataSpec(options={"n": 8, "split": "test"})
    common = {"data": data, "attacks": (PGD(steps=5),), "checks": CheckSpec(left_out="a test"), "gallery_items": 0}
    radii = (Linf("2/255"), Linf("4/255"))
    jobs = [
        Job("image", EncoderSpec(heads="shipped"), budgets={"pixels": radii}, **common),
        Job("thermal", budgets={"pixels": radii[1:]}, **common),
        Job("audio", spaces=("waveform",), budgets={"waveform": (Linf("0.8/255"),)}, **common),
    ]
    run_jobs(jobs, folder)
    return folder


@pytest.fixture(scope="module")
def pack(run, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("packs") / "pack"
    write_pack(run, out, samples=3)
    return out


def lines_of(pack: Path) -> list[dict[str, str]]:
    with (pack / "examples.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_script_without_ironbind_agrees(pack):
    checked = subprocess.run([sys.executable, "-c", SCRIPT, str(pack)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    sums = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=pack, capture_output=True, text=True)
    assert sums.returncode == 0, sums.stdout


def test_the_table(run, pack):
    lines = lines_of(pack)
    assert tuple(lines[0]) == COLUMNS
    assert {line["modality"] for line in lines} == {"image", "thermal", "audio"}
    assert {line["eps"] for line in lines} == {"4/255", "0.8/255"}
    record = json.loads((pack / "evidence.json").read_text())
    numbers = {
        (row.modality, row.calibration, row.threat_model)
        for row in Result.read(run).select(metric="top1", eps=("4/255", "0.8/255"))
        if row.threat_model in ("whitebox", "adaptive")
    }
    assert {(n["modality"], n["calibration"], n["threat_model"]) for n in record["numbers"]} == numbers
    for number in record["numbers"]:
        assert number["written"] == min(3, number["broken"])
        assert number["exact_adversarial"] == number["written"]  # in float32 nothing is lost
        assert number["within_budget"] == number["written"]
        mine = [
            line
            for line, example in zip(lines, record["examples"], strict=True)
            if all(example[column] == number[column] for column in ("modality", "calibration", "threat_model"))
        ]
        assert number["adversarial"] == sum(
            line["prediction"] != line["label"] and line["clean_prediction"] == line["label"] for line in mine
        )
    sounds = [line for line in lines if line["modality"] == "audio"]
    assert {Path(line["file"]).suffix for line in sounds} == {".wav"}
    # a WAV of float32 loses nothing: its reader gives the encoder what was attacked, at the encoder's own rate
    assert all(line["clean_prediction"] == line["label"] != line["prediction"] for line in sounds)
    thermal = next(line for line in lines if line["modality"] == "thermal")
    with Image.open(pack / thermal["file"]) as picture:
        assert picture.mode.startswith("I")


def test_exact_arrays_hash_and_distance(pack):
    for example in json.loads((pack / "evidence.json").read_text())["examples"]:
        exact, clean = (np.load(pack / example[name]) for name in ("exact_file", "exact_clean_file"))
        assert exact.dtype == np.float32
        far = np.abs(exact.astype(np.float64) - clean.astype(np.float64)).max()
        assert far == pytest.approx(example["exact_distance"], abs=1e-9)
        assert far <= example["radius"] + 1e-6
        digest = hashlib.sha256((pack / example["exact_file"]).read_bytes()).hexdigest()
        assert digest == example["exact_sha256"]


def test_hubs_read_the_numbers(run, pack):
    """Through the Hub's own readers."""
    rows = [row for row in Result.read(run).select(metric="top1", task="zero_shot") if row.threat_model != "replayed"]
    card = ModelCard.load(pack / "README.md")
    evaluated = {each.metric_name: each.metric_value for each in card.data.eval_results}
    assert sorted(evaluated.values()) == sorted(round(row.value, 4) for row in rows)
    assert not [name for name in evaluated if "replayed" in name]
    entries = parse_eval_result_entries(yaml.safe_load((pack / ".eval_results" / "ironbind.yaml").read_text()))
    assert [entry.value for entry in entries] == [round(row.value, 4) for row in rows]
    assert {entry.task_id for entry in entries} == set(evaluated)
    assert {entry.dataset_id for entry in entries} == {"world"}


def test_a_pack_is_written_again_the_same(run, pack):
    before = (pack / "SHA256SUMS").read_text()
    write_pack(run, pack, samples=3)
    assert (pack / "SHA256SUMS").read_text() == before


def test_chosen_modality_and_radius(run, tmp_path):
    found = write_pack(run, tmp_path / "pack", modalities=["image"], eps=["2/255"], samples=1)
    assert {(each.row.modality, each.row.eps) for each in found} == {("image", "2/255")}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"modalities": ["video"]}, "--modality video: the run attacked image, thermal, audio"),
        ({"eps": ["9/255"]}, "--eps 9/255: the run attacked at 2/255, 4/255, 0.8/255"),
    ],
)
def test_what_was_not_attacked(run, tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        write_pack(run, tmp_path / "pack", **options)


def test_other_folders_are_left_alone(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for out in (tmp_path, run, tmp_path / "notes.txt"):
        with pytest.raises(InputError, match="expected a new or empty folder"):
            write_pack(run, out)
    with pytest.raises(InputError, match="does not exist"):
        write_pack(tmp_path / "nowhere", tmp_path / "pack")


def test_one_example_that_cannot_be_had_does_not_take_others_along(run, tmp_path, monkeypatch):
    """Every other sample is refused, in whatever company it is asked for."""
    asked_for = Result.examples

    def some_refused(self, samples, **where):
        refused = [sample for sample in samples if int(sample[-1]) % 2]
        if refused:
            raise InputError(f"the example of sample {refused[0]!r} cannot be had")
        return asked_for(self, samples, **where)

    monkeypatch.setattr(Result, "examples", some_refused)
    (found,) = write_pack(run, tmp_path / "pack", modalities=["thermal"], samples=8)
    odd = sum(int(line["sample"][-1]) % 2 for line in lines_of(tmp_path / "pack"))
    assert (odd, len(found.examples)) == (0, found.broken - int(found.missing.partition(" of ")[0]))
    assert "cannot be had: the example of sample" in found.missing
    record = json.loads((tmp_path / "pack" / "evidence.json").read_text())
    assert record["numbers"][0]["missing"] == found.missing
