import pytest

from refusals import refused as refused_from


@pytest.fixture
def refused(tmp_path):
    """`refused(name, "words", **options)`: loading `tmp_path` raises InputError with one line that says `words` and
    what was expected.
    """

    def check(name: str, words: str, **options) -> str:
        line = refused_from(words, name, tmp_path, **options)
        assert "expected" in line
        return line

    return check
