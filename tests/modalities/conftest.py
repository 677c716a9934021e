import re

import pytest

from ironbind.types import InputError


@pytest.fixture
def refused():
    """`refused(read, path, "words")`: reading raises InputError with one line that names the file, says `words` and
    what was expected.
    """

    def check(read, path, words: str) -> str:
        with pytest.raises(InputError) as refusal:
            read(path)
        line = str(refusal.value)
        assert line.startswith(f"{path}: ")
        assert "\n" not in line
        assert "expected" in line
        assert re.search(words, line), line
        return line

    return check
