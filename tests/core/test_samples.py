"""Decoded samples: every kind can carry remarks, and a remark reads as one phrase."""

from dataclasses import MISSING, fields
from typing import get_args

import pytest

from ironbind.types import Decoded, Remark


@pytest.mark.parametrize("kind", [kind for kind in get_args(Decoded) if kind is not str])
def test_every_decoded_sample_carries_remarks_and_has_none_by_default(kind):
    remarks = fields(kind)[-1]
    assert remarks.name == "remarks"
    assert remarks.default == ()
    assert all(field.default is MISSING for field in fields(kind)[:-1])


def test_a_remark_reads_as_a_phrase():
    assert str(Remark("turned upright", "orientation 6")) == "turned upright (orientation 6)"
    assert str(Remark("silent")) == "silent"
    assert len({Remark("a", "1"), Remark("a", "1"), Remark("a", "2")}) == 2
