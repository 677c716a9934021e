"""How a requirement is read, and which rows it is about."""

from dataclasses import replace

import pytest
from written_runs import CLEAN, share

from ironbind.core.errors import InputError
from ironbind.gate.requirement import requirement

ROW = share(36, 48)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("image 4/255 adaptive >= 40", ("image", None, "4/255", "adaptive", ">=", 40.0)),
        ("image/pixels 4/255 adaptive>40%", ("image", "pixels", "4/255", "adaptive", ">", 40.0)),
        ("audio/waveform 30 dB adaptive >= 7.5", ("audio", "waveform", "30dB", "adaptive", ">=", 7.5)),
        ("image clean >= 90", ("image", None, "0", "clean", ">=", 90.0)),
        ("image 0 clean >= 90", ("image", None, "0", "clean", ">=", 90.0)),
        ("image 4/255 adaptive metric=mean_rank <= 3", ("image", None, "4/255", "adaptive", "<=", 3.0)),
        ("event 5 % whitebox norm=event_share < 90", ("event", None, "5%", "whitebox", "<", 90.0)),
    ],
)
def test_what_is_read(written, expected):
    read = requirement(written)
    assert (read.modality, read.space, read.eps, read.threat_model, read.operator, read.value) == expected


def test_task_and_metric():
    named = requirement("image 4/255 adaptive task=retrieval:image->text >= 40").named
    assert dict(named) == {"task": "retrieval:image->text", "metric": "R@1"}
    assert dict(requirement("image 4/255 adaptive metric=top5 >= 40").named)["metric"] == "top5"
    assert dict(requirement("image 4/255 adaptive >= 40").named) == {"task": "zero_shot", "metric": "top1"}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("", "no operator"),
        ("image 4/255 adaptive", "no operator"),
        ("image 4/255 adaptive >= lots", "no operator"),
        ("image 4/255 adaptive >= 4.0.0", "'4.0.0' is not a number"),
        ("imgae 4/255 adaptive >= 40", "did you mean 'image'"),
        ("image 4/255 adaptiv >= 40", "threat model 'adaptiv'"),
        ("image adaptive >= 40", "names no eps"),
        ("image four adaptive >= 40", "'four' is not a number"),
        ("adaptive >= 40", "names no modality"),
        ("image 4/255 adaptive metric=top2 >= 40", "metric 'top2'"),
        ("image 4/255 adaptive task=guess >= 40", "task 'guess'"),
        ("image 4/255 adaptive colour=red >= 40", "'colour=red'"),
    ],
)
def test_what_cannot_be_read(written, said):
    with pytest.raises(InputError) as error:
        requirement(written)
    assert said in str(error.value)
    assert repr(written) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"eps": "4.0/255"}, True),
        ({"eps": "8/255"}, False),
        ({"threat_model": "replayed"}, False),
        ({"modality": "thermal"}, False),
        ({"space": "latent"}, True),
        ({"metric": "top5"}, False),
        ({"task": "retrieval:image->text"}, False),
        ({"calibration": "fare"}, True),
        (CLEAN, False),
    ],
)
def test_rows_that_fit(changes, fits):
    assert requirement("image 4/255 adaptive >= 40").fits(replace(ROW, **changes)) is fits


def test_columns_that_narrow():
    narrow = requirement("image/pixels 4/255 adaptive calibration=hardened attack=pgd20 >= 40")
    assert narrow.fits(ROW)
    for change in ({"calibration": "fare"}, {"attack": "square"}, {"space": "latent"}):
        assert not narrow.fits(replace(ROW, **change))


def test_decibels_are_no_ratios():
    row = replace(ROW, modality="audio", space="waveform", norm="snr", eps="30dB")
    assert requirement("audio 30dB adaptive >= 1").fits(row)
    assert requirement("audio 30 dB adaptive >= 1").fits(row)
    assert not requirement("audio 0.0316227766 adaptive >= 1").fits(row)
