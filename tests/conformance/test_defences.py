"""Every defence in every space of the built-in encoder: unit rows that depend on nothing but the query, the cost that
it declares, an attacker's account that has a gradient.
"""

import pytest
import torch

import ironbind as ib
from ironbind.defences import DEFENCES
from ironbind.defences.defence import GRADIENTS, Detector
from ironbind.types import DefendedEncoder, Encoder, InputError
from toys import Counting

PLACES = [
    ("image", "pixels"), ("video", "pixels"), ("audio", "waveform"), ("audio", "logmel"), ("point", "unit_sphere"),
    ("thermal", "pixels"), ("event", "event_frames"),
]  # fmt: skip
TEXTS = {"texts": ("a ball", "a cube", "a ring")}
NOWHERE = {("recompression", "logmel"), ("recompression", "unit_sphere")}


@pytest.fixture(scope="module")
def tiny():
    return ib.load_encoder("tiny")


@pytest.fixture(scope="module")
def inputs(tiny):
    data = ib.load_dataset("world", n=2)
    tasks = {place: ib.zero_shot(tiny, data, place[0], space=place[1]) for place in PLACES}
    return {place: task.load(range(2)) for place, task in tasks.items()}


def defended(encoder, name):
    return ib.defend(encoder, name, **(TEXTS if name == "prompt_consensus" else {}))


@pytest.mark.parametrize("place", PLACES, ids="-".join)
@pytest.mark.parametrize("name", DEFENCES)
def test_defence(tiny, inputs, name, place):
    modality, space = place
    counting = Counting(tiny)
    encoder, x = defended(counting, name), inputs[place]
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, DefendedEncoder)
    defence = encoder.defence
    if (name, space) in NOWHERE:
        with pytest.raises(InputError, match=f"defence '{name}' has no meaning for {modality} in {space}: "):
            encoder.embed(modality, x, space=space)
        return
    with torch.no_grad():
        z = encoder.embed(modality, x, space=space)
    passes = defence.passes(modality, encoder.inputs[modality].space_named(space))
    assert sum(counting.rows) == len(x) * (passes.forward + passes.gradient)
    torch.testing.assert_close(z.norm(dim=1), torch.ones(len(x)))
    with torch.no_grad():
        again = encoder.embed(modality, x.flip(0), space=space).flip(0)
    torch.testing.assert_close(z, again, atol=1e-5, rtol=0)
    assert set(defence.gradients) <= set(GRADIENTS)
    with torch.no_grad():
        plain = encoder.as_attacked("straight_through").embed(modality, x, space=space)
    for way in defence.gradients:
        at = x.clone().requires_grad_(True)
        seen = encoder.as_attacked(way).embed(modality, at, space=space)
        (gradient,) = torch.autograd.grad(seen[:, 0].sum(), at)
        assert torch.isfinite(gradient).all()
        assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()
        torch.testing.assert_close(seen.detach(), plain, atol=1e-4, rtol=0)  # the ways differ in gradients alone
    randomised = defence.randomised(modality, encoder.inputs[modality].space_named(space))
    with torch.no_grad():
        redrawn = encoder.redrawn(1).embed(modality, x, space=space)
    assert bool((redrawn != z).any()) == randomised


@pytest.mark.parametrize("name", [name for name in DEFENCES if isinstance(DEFENCES[name](), Detector)])
def test_detectors_act_on_what_is_suspicious(tiny, inputs, name):
    """With a threshold that nothing passes, and one that everything does, the answer differs."""
    x = inputs["image", "pixels"]
    scores = ib.defend(tiny, name).suspicion("image", x)
    assert scores.shape == (len(x),)
    knob = {"ttc": "tau_thres", "noise_gate": "threshold"}[name]
    with torch.no_grad():
        never, always = (ib.defend(tiny, name, **{knob: at}).embed("image", x) for at in (0.0, 9.0))
    assert not torch.allclose(never, always, atol=1e-3)
