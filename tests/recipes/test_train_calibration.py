"""`ironbind calibrate` on toys: one head per modality, each on data of its own, refused before anything is trained."""

import pytest

from ironbind.calibration.calibrated import load_calibrated
from ironbind.recipes import train_calibration
from ironbind.recipes.train_calibration import TrainingRequest, recipe_for, train
from ironbind.runs import encoder_spec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.types import InputError
from toys import Conv, ToyData


@pytest.fixture
def toys(monkeypatch):
    """The encoder and the data are toys; what was asked for is remembered."""
    encoder, asked = Conv(), []

    def load(name, path=None, **options):
        asked.append((name, path, options))
        return ToyData(options.get("limit") or options["n"], seed=len(asked))

    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    monkeypatch.setattr(train_calibration, "load_dataset", load)
    return encoder, asked


def test_every_modality_trains_on_its_own_folder_in_all_its_spaces(toys, tmp_path):
    encoder, asked = toys
    heads = train(TrainingRequest("l2", modalities=("thermal", "audio"), data="somewhere", samples=16), tmp_path)
    assert [(name, path, options["modality"]) for name, path, options in asked] == [
        ("folder", "somewhere", "thermal"),
        ("folder", "somewhere", "audio"),
    ]
    assert [(one.modality, one.space, one.train_samples) for one in heads.records] == [
        ("thermal", "pixels", 16),
        ("audio", "waveform+logmel", 32),
    ]
    again = load_calibrated(encoder, tmp_path)
    assert again.weights_sha256 == heads.weights_sha256
    assert sorted(again.heads) == ["audio", "thermal"]


def test_a_modality_said_twice_is_trained_once(toys, tmp_path):
    twice = train(TrainingRequest("l2", modalities=("thermal", "thermal"), samples=16), tmp_path / "twice")
    assert [(one.modality, one.train_samples) for one in twice.records] == [("thermal", 16)]


def test_what_cannot_be_trained_shows_before_the_first_is(toys, tmp_path):
    heard = []
    with pytest.raises(InputError, match="does not take modality 'point'"):
        train(TrainingRequest("l2", modalities=("thermal", "point"), samples=16), tmp_path, listener=heard.append)
    assert not heard
    with pytest.raises(InputError, match="--modality is missing: say what somewhere holds"):
        train(TrainingRequest("l2", data="somewhere"), tmp_path)


def test_adapters_for_several_modalities_are_saved_together(toys, tmp_path):
    encoder, asked = toys
    hard = train(TrainingRequest("hardened", modalities=("thermal", "image"), steps=2, rank=2), tmp_path, workers=0)
    assert [options["n"] for _, _, options in asked] == [50, 50]  # as many fresh samples as the steps take
    assert [(one.modality, one.steps, one.parts) for one in hard.records] == [
        (one, 2, "low_rank+norms+purifier") for one in ("thermal", "image")
    ]
    assert all(one.shape.rank == 2 for one in hard.adapters.values())
    again = load_calibrated(encoder, tmp_path)
    assert again.weights_sha256 == hard.weights_sha256
    assert set(again.modalities) == {"thermal", "image"}


def test_each_fresh_sample_is_seen_once(toys, tmp_path):
    (record,) = train(TrainingRequest("hardened", modalities=("thermal",), samples=300), tmp_path, workers=0).records
    assert (record.steps, record.samples_seen, record.train_samples) == (12, 300, 300)


def test_goes_on_from_saved_parts_of_their_modalities(toys, tmp_path):
    train(TrainingRequest("hardened", modalities=("thermal",), steps=2, rank=2), tmp_path / "first", workers=0)
    further = train(
        TrainingRequest("hardened", encoder=EncoderSpec(heads=str(tmp_path / "first")), steps=3, seed=1),
        tmp_path / "further",
        workers=0,
    )
    assert further.modalities == ("thermal",)
    assert [one.steps for one in further.records] == [2, 3]
    assert further.adapters["thermal"].shape.rank == 2
    assert f"--start={tmp_path / 'first'}" in further.made_by
    grown = train(
        TrainingRequest("hardened", encoder=EncoderSpec(heads=str(tmp_path / "first")), rank=4, steps=2, seed=1),
        tmp_path / "grown",
        workers=0,
    )
    assert grown.adapters["thermal"].shape.rank == 4
    with pytest.raises(InputError, match="--rank 1: what is in .* has rank 2 and can only grow"):
        train(TrainingRequest("hardened", encoder=EncoderSpec(heads=str(tmp_path / "first")), rank=1), tmp_path)


def test_choices_that_a_recipe_has_no_use_for_are_one_line():
    assert recipe_for("hardened", head="mlp", rank=8, steps=7).head == "mlp"
    assert recipe_for("mars", steps=30).stages[0].steps == 9
    bad = {
        "--steps 7: calibration 'l2' crafts its examples once": {"steps": 7},
        "--rank 8: calibration 'l2' trains no adapters": {"rank": 8},
    }
    for message, choices in bad.items():
        with pytest.raises(InputError, match=message):
            recipe_for("l2", **choices)
