"""An encoder as a value: which towers it is loaded with, and what its loader is called with."""

import pickle

import pytest

from ironbind.recipes.request import SIX
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.types import InputError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("imagebind-huge", ("image", "text", "video", "audio", "thermal")),  # ImageBind has no points and no events
        ("languagebind-image", ("image", "text", "event")),
        ("unibind", ("image", "text", *SIX[1:])),
        ("tiny", ("image",)),  # its loader leaves nothing out
        ("hf", ()),  # what a folder holds shows when it is read
    ],
)
def test_further_towers_are_those_that_the_encoder_has(name, expected):
    assert EncoderSpec(name, modalities=("image",)).with_towers(("text", *SIX)).modalities == expected
    assert EncoderSpec(name).with_towers(SIX).modalities == ()  # all are loaded already


def test_options_are_those_that_the_loader_takes(tmp_path):
    (tmp_path / "own_loaders.py").write_text(
        "def bare(): ...\ndef full(weights=None, device=None, dtype=None, modalities=None): ...\n"
    )
    spec = EncoderSpec(f"{tmp_path / 'own_loaders.py'}:full", "w.pt", "cpu", "bfloat16", ("image",))
    assert pickle.loads(pickle.dumps(spec)) == spec
    options = dict(spec.options)
    assert (options["weights"], options["device"], str(options["dtype"])) == ("w.pt", "cpu", "torch.bfloat16")
    assert options["modalities"] == ("image", "text")
    assert spec.with_towers(SIX).modalities == ()  # nobody knows which towers a function of the user's own has
    bare = f"{tmp_path / 'own_loaders.py'}:bare"
    assert EncoderSpec(bare, modalities=("image",)).options == ()
    for option, value in (("weights", "w.pt"), ("device", "cpu"), ("dtype", "bfloat16")):
        with pytest.raises(InputError, match=f"--{option} {value}: encoder '.*bare' does not take this option"):
            EncoderSpec(bare, **{option: value}).options  # noqa: B018
    with pytest.raises(InputError, match="dtype 'float7' is not a precision; expected float32 or bfloat16"):
        EncoderSpec("imagebind-huge", dtype="float7").options  # noqa: B018
