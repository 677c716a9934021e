"""Packaging: what the Hub's mixin saves comes back bit for bit, its card says both protocols' numbers, and nothing
needs a network.
"""

import json
from pathlib import Path

import huggingface_hub
import pytest
import torch
import yaml
from parameter_shares import imagebind

import ironbind as ib
from ironbind.calibration import calibrated as module
from ironbind.calibration.calibrated import Calibrated
from ironbind.core.results import CalibrationRecord, Row
from ironbind.encoders.languagebind import encoder as languagebind
from ironbind.encoders.tiny.encoder import load as load_tiny
from ironbind.runs.pretrained import from_pretrained
from ironbind.types import AdapterShape, InputError
from small_towers import VARIANTS

RECORD = CalibrationRecord(
    "toy", "image", "pixels", "none", "l2()", "pgd1-ce", "4/255", 2720, 50000, 100, 1, 1.5, 0.5, 0.9, 0.1,
    "low_rank+purifier", 40000, 1000, 10, 5, 0.1,
)  # fmt: skip


def row(metric, threat_model, value, calibration="toy", task="zero_shot", checks=""):
    spent = ("none", "none", "0") if threat_model == "clean" else ("pgd50", "linf", "4/255")
    return Row(
        "tiny",
        calibration,
        "image",
        "pixels",
        task,
        metric,
        *spent,
        threat_model,
        value,
        value - 3,
        value + 3,
        500,
        checks,
    )


ROWS = (
    row("top1", "clean", 96.0, "none"),
    row("top1", "whitebox", 5.0, "none"),
    row("top1", "clean", 95.2),
    row("top1", "replayed", 93.0),
    row("top1", "adaptive", 41.4, checks="C13:warn"),
    row("cosine", "clean", 0.9712, task="index:image->image"),
    row("R@10", "clean", 88.8, "none", task="index:image->text"),
    row("R@10", "clean", 87.7, task="index:image->text"),
)


@pytest.fixture(scope="module")
def tiny():
    return load_tiny()


@pytest.fixture
def hard(tiny):
    from ironbind.calibration.adapters import Adapters

    made = Calibrated(
        tiny,
        {},
        "toy",
        None,
        [RECORD],
        {"image": Adapters(tiny, "image", AdapterShape(2, True, 4))},
        ROWS,
        "ironbind calibrate toy",
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for one in made.parts.parameters():
            one += 0.05 * torch.randn_like(one)
    return made


def test_saved_and_loaded_by_the_mixin(hard, tiny, tmp_path):
    (tmp_path / "README.md").write_text("of an older calibration")
    hard.save_pretrained(tmp_path)
    assert "## What survives, and what only seems to" in (tmp_path / "README.md").read_text()
    assert {one.name for one in tmp_path.iterdir()} == {
        "README.md",
        "adapters.safetensors",
        "calibration.json",
        "config.json",
    }
    x = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for again in (
        Calibrated.from_pretrained(tmp_path, encoder=tiny),
        from_pretrained(tmp_path),
        ib.from_pretrained(str(tmp_path), tiny),
    ):
        assert again.embed("image", x).equal(hard.embed("image", x))
        assert (again.results, again.records, again.made_by) == (hard.results, hard.records, hard.made_by)
    assert json.loads((tmp_path / "config.json").read_text())["base_model"] == "tiny"


def test_an_encoder_is_asked_for(hard, tmp_path):
    hard.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="expected encoder="):
        Calibrated.from_pretrained(tmp_path)


def test_a_repository_of_the_hub(hard, tiny, tmp_path, monkeypatch):
    """What is uploaded is what was saved, and a download of it is loaded like a folder; the network is played by a
    folder.
    """
    shelf = tmp_path / "hub"
    monkeypatch.setattr(
        huggingface_hub.HfApi, "create_repo", lambda self, repo_id, **_: type("Repo", (), {"repo_id": repo_id})()
    )

    def upload(self, *, repo_id, folder_path, **_):
        target = shelf / repo_id
        target.mkdir(parents=True)
        for one in Path(folder_path).iterdir():
            (target / one.name).write_bytes(one.read_bytes())
        return "sent"

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload)
    assert hard.push_to_hub("someone/tiny-toy") == "sent"
    monkeypatch.setattr("ironbind.runs.pretrained.hf_hub_download", lambda repo, name, **_: str(shelf / repo / name))
    monkeypatch.setattr(
        "huggingface_hub.hub_mixin.hf_hub_download", lambda repo_id, filename, **_: str(shelf / repo_id / filename)
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **_: str(shelf / repo))
    again = from_pretrained("someone/tiny-toy")
    assert again.weights_sha256 == hard.weights_sha256
    assert 'base_model: "tiny"' in (shelf / "someone/tiny-toy/README.md").read_text()


def test_what_cannot_be_had_is_one_line(tmp_path, monkeypatch):
    def gone(*_, **__):
        raise huggingface_hub.errors.LocalEntryNotFoundError("no such entry,\n and no network")

    monkeypatch.setattr("ironbind.runs.pretrained.hf_hub_download", gone)
    with pytest.raises(
        InputError,
        match=r"^someone/nothing is no folder and cannot be had from the Hub \(.*no network.*'shipped-small'$",
    ) as raised:
        from_pretrained("someone/nothing")
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match=r"calibration\.json"):
        from_pretrained(tmp_path)


def test_the_card_says_what_was_measured(hard):
    card = hard.card("org/name")
    _, header, body = card.split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["license_name"] == "Apache-2.0"
    assert told["base_model"] == "tiny"
    line = next(one for one in body.splitlines() if one.startswith("| image (pixels) | zero_shot"))
    assert "| linf 4/255 | pgd50 | 96.0 / 5.0 | 95.2 | 93.0 | **41.4** (38.4–44.4) | 500 | C13:warn |" in line
    assert "| image->image | cosine | – | 0.971 | 500 |" in body
    assert "| image->text | R@10 | 88.8 | 87.7 | 500 |" in body
    assert "| 2,720 | 6.8 % | 5.4 % |" in body
    assert 'ib.from_pretrained("org/name", encoder)' in body
    assert "    ironbind calibrate toy" in body


def test_a_card_without_numbers_says_so(tiny):
    bare = Calibrated(tiny, {}, "toy", None)
    assert "Not measured yet" in bare.card()
    assert "In the place of the original" not in bare.card()


def test_the_licence_of_official_weights_is_on_the_card():
    network = languagebind.assemble("small", {"image": "random"}, ("image",), variants=VARIANTS)
    assert 'license_name: "MIT"' in Calibrated(network, {}, "toy", None).card()
    assert "CC BY-NC-SA 4.0" in Calibrated(imagebind(), {}, "toy", None).card()


def test_damaged_results_are_no_calibration(hard, tiny, tmp_path):
    hard.save_pretrained(tmp_path)
    about = json.loads((tmp_path / "calibration.json").read_text())
    about["results"][0].pop("encoder")
    (tmp_path / "calibration.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="not a calibration of this version"):
        module.load_calibrated(tiny, tmp_path)
