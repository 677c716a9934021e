"""What is no encoder is said so where it is handed over."""

import pytest

import ironbind as ib
from ironbind.recipes import AUDITS
from ironbind.recipes.request import AuditRequest
from ironbind.types import InputError, checked_encoder
from toys import Conv, ToyData


def test_an_encoder_is_one():
    encoder = Conv()
    assert checked_encoder(encoder) is encoder


@pytest.mark.parametrize(("value", "told"), [("tiny", "the name 'tiny'"), (None, "NoneType"), (print, "builtin")])
def test_what_is_none_is_named(value, told):
    for asks in (
        lambda: ib.zero_shot(value, ToyData(4), "image"),
        lambda: ib.retrieval(value, ToyData(4), "image"),
        lambda: ib.defend(value, "anchors"),
    ):
        with pytest.raises(InputError, match=f"expected an encoder, not {told}"):
            asks()


def test_a_gallery_too_small_to_scan_is_refused_before_anything_runs():
    with pytest.raises(InputError, match="--limit 4: the items are the gallery that is scanned"):
        AUDITS["undetected_hub"](AuditRequest(modalities=("image",), limit=4))
