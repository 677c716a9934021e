"""What a data set says when it cannot be loaded."""

import pytest

from ironbind.data import load_dataset
from ironbind.types import InputError


def refused(words: str, name: str, path, **options) -> str:
    """Loading the layout `name` from `path` raises InputError with one line, in which the expression `words` occurs."""
    with pytest.raises(InputError, match=words) as refusal:
        load_dataset(name, path, **options)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)
