import pickle

from ironbind.core.errors import InputError, UnknownName


def test_a_refusal_is_one_line_whatever_it_quotes():
    error = InputError("a\nb.wav: is missing;\r\n expected it\u2028there")
    assert str(error) == "a b.wav: is missing;  expected it there"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert str(UnknownName("x\ny")) == "x y"
