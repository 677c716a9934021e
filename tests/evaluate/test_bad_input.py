"""Everything a user can get wrong in an audit is one line that names it."""

import numpy as np
import pytest
import torch

from ironbind.attacks import PGD
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.types import L2, Audio, Budget, Image, InputError, Linf, Thermal
from toys import Conv, Linear, NotANumber, ToyData, audit

DATA = ToyData(8)
WAVE = np.zeros((1, 64), dtype=np.float32)


def task(data=DATA, modality="image", encoder=None, **more):
    return zero_shot(encoder or Conv(), data, modality, **more)


def empty():
    data = ToyData(8)
    data.ids, data.labels, data.captions = [], [], []
    return data


def twice():
    data = ToyData(8)
    data.ids = ["a"] * 2 + data.ids[2:]
    return data


BAD = {
    "mixed norms": (lambda: audit(task(), PGD(steps=1), [Linf(0.1), L2(0.1)]), r"must share one norm, not l2, linf"),
    "no budget": (lambda: audit(task(), PGD(steps=1), []), r"at least one budget, such as Linf\('4/255'\)"),
    "budget of another space": (
        lambda: audit(task(), PGD(steps=1), Linf("1/255", space="waveform")),
        r"'1/255' was given for space 'waveform'.*'pixels'",
    ),
    "no samples": (lambda: audit(task(empty()), PGD(steps=1), Linf(0.1)), r"'toys' holds no sample to audit"),
    "ids twice": (lambda: audit(task(twice()), PGD(steps=1), Linf(0.1)), r"'toys' calls several samples 'a'"),
    "nan input": (
        lambda: audit(
            task(ToyData(8, corrupt={"audio": Audio(WAVE * np.nan, 16000)}), "audio"), PGD(steps=1), Linf(0.1)
        ),
        r"toys: audio sample '0-0' holds values that are not finite",
    ),
    "inf input": (
        lambda: audit(
            task(ToyData(8, corrupt={"audio": Audio(WAVE + np.inf, 16000)}), "audio"), PGD(steps=1), Linf(0.1)
        ),
        r"toys: audio sample '0-0' holds values that are not finite",
    ),
    "too loud": (
        lambda: audit(task(ToyData(8, corrupt={"audio": Audio(WAVE + 1.5, 16000)}), "audio"), PGD(steps=1), Linf(0.1)),
        r"audio sample '0-0' reaches \[1.5, 1.5\], outside the bounds \[-1.0, 1.0\] of space waveform",
    ),
    "too cold": (
        lambda: audit(
            task(ToyData(8, corrupt={"thermal": Thermal(np.full((6, 6), -0.1, np.float32))}), "thermal"),
            PGD(steps=1),
            Linf(0.1),
        ),
        r"thermal sample '0-0' reaches \[-0.1, -0.1\], outside",
    ),
    "another size": (
        lambda: audit(
            task(ToyData(8, corrupt={"image": Image(np.zeros((9, 8, 3), np.uint8))})), PGD(steps=1), Linf(0.1)
        ),
        r"image sample '0-0' was prepared to shape \(3, 9, 8\); the encoder expects \(3, 8, 8\)",
    ),
    "nan embedding": (
        lambda: audit(task(encoder=NotANumber()), PGD(steps=1), Linf(0.1)),
        r"encoder 'notanumber' answers sample '0-0' with an embedding that is not finite",
    ),
    "no captions": (
        lambda: audit(retrieval(Conv(), ToyData(8, captions=False), "image"), PGD(steps=1), Linf(0.1)),
        r"'toys' has no captions",
    ),
    "no such modality": (
        lambda: task(modality="smell"),
        r"encoder 'conv' does not take modality 'smell'; it takes image, audio, thermal",
    ),
    "modality not in the data": (
        lambda: task(ToyData(8, modalities=["image"]), "audio"),
        r"'toys' does not hold modality 'audio'; it holds image",
    ),
    "partner not in the data": (
        lambda: retrieval(Conv(), ToyData(8, modalities=["image"]), "image", to="audio"),
        r"'toys' does not hold modality 'audio'",
    ),
    "which modality": (lambda: zero_shot(Conv(), DATA), r"'toys' holds image, audio, thermal: say which modality"),
    "no such space": (
        lambda: task(modality="audio", space="mfcc"),
        r"space 'mfcc' does not exist for audio; expected one of waveform, logmel",
    ),
    "no such loss": (lambda: audit(task(), PGD(loss="hinge"), Linf(0.1)), r"loss 'hinge' is not known"),
    "no such norm": (
        lambda: Budget("l7", 0.1, "0.1"),
        r"norm 'l7' is not known; expected one of linf, l2, l1, snr, pointwise_l2, event_share",
    ),
    "both ways": (lambda: retrieval(Conv(), DATA, "image", to="text", of="text"), r"retrieval goes one way"),
    "to itself": (
        lambda: retrieval(Conv(), DATA, "image", to="image"),
        r"retrieval needs two modalities, not 'image' twice",
    ),
    "limit 0": (lambda: task(limit=0), r"limit 0 leaves no sample"),
    "limit -3": (lambda: retrieval(Conv(), DATA, "image", limit=-3), r"limit -3 leaves no sample"),
    "no classes": (lambda: audit(_without_classes(), PGD(steps=1), Linf(0.1)), r"at least one class name"),
}


def _without_classes():
    data = ToyData(8)
    data.classes = ()
    return task(data)


@pytest.mark.parametrize("what", BAD)
def test_one_line(what):
    wrong, message = BAD[what]
    with pytest.raises(InputError, match=message) as caught:
        wrong()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("abc", "epsilon 'abc' is not a number; expected something like 4/255 or 0.5"),
        ("", "epsilon '' is not a number"),
        ("4/", "epsilon '4/' is not a number"),
        ("/255", "epsilon '/255' is not a number"),
        ("1/2/3", "epsilon '1/2/3' is not a number"),
        ("nan", "epsilon 'nan' is not a number"),
        ("inf", "epsilon 'inf' is not a number"),
        ("1/0", "epsilon '1/0' is not a number"),
        ("-1/255", "epsilon '-1/255' must be finite and not negative"),
        (-0.1, "epsilon -0.1 must be finite and not negative"),
        (float("nan"), "epsilon nan must be finite"),
        (float("inf"), "epsilon inf must be finite"),
    ],
)
@pytest.mark.parametrize("norm", [Linf, L2])
def test_epsilons(written, message, norm):
    with pytest.raises(InputError) as caught:
        norm(written)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "radius"),
    [
        ("4/255", 4 / 255),
        ("0.4/255", 0.4 / 255),
        ("1e-1/2.5", 0.04),
        (" 4 / 255 ", 4 / 255),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        (0.25, 0.25),
        (2, 2.0),
        ("0", 0.0),
    ],
)
def test_epsilons_that_are_fine(written, radius):
    for norm, name in ((Linf, "linf"), (L2, "l2")):
        budget = norm(written)
        assert (budget.norm, budget.radius) == (name, pytest.approx(radius))
        assert " " not in budget.written


def test_prepared_samples_belong_to_who_prepared_them():
    """Encoders that come and go over one data set never see each other's prepared tensors."""
    data = ToyData(8)

    def brightness(factor: float) -> float:
        encoder = Linear()
        spec = encoder.inputs["image"]
        encoder.inputs["image"] = type(spec)(
            "image", spec.shape, spec.space, lambda decoded: factor * spec.prepare(decoded)
        )
        return float(zero_shot(encoder, data, "image").load(range(8)).mean())

    full = brightness(1.0)
    assert [brightness(1 / (i + 1)) for i in range(20)] == pytest.approx([full / (i + 1) for i in range(20)])


def test_samples_are_decoded_once():
    data = ToyData(8)
    for _ in range(3):
        audit(task(data), PGD(steps=1), Linf(0.1), checks=False)
    assert data.decoded == 8
    loaded = task(data).load([2, 2, 5])
    loaded.zero_()
    assert task(data).load([2]).abs().sum() > 0
    assert torch.is_tensor(loaded)
