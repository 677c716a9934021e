"""`--data-option key=value` and options in Python: every value is read and checked by its option's type; a wrong one is
one line.
"""

from pathlib import Path

import pytest

from ironbind.data import DATASETS, load_dataset
from ironbind.data.loader_options import ALWAYS, loader_options
from ironbind.data.option_types import alternatives, expected
from ironbind.types import InputError
from layouts.tiny_pictures import picture
from refusals import refused


@pytest.mark.parametrize(
    ("layout", "given", "options"),
    [
        ("csv", ["columns.image=0", "columns.label=1"], {"columns": {"image": "0", "label": "1"}}),
        ("csv", ["columns.caption=a+b", "columns.id=2"], {"columns": {"caption": ("a", "b"), "id": "2"}}),
        ("csv", ["delimiter=\t"], {"delimiter": "\t"}),
        ("csv", ["delimiter=+", "split=1", "root=2"], {"delimiter": "+", "split": "1", "root": "2"}),
        ("csv", ["classes=0+1"], {"classes": ("0", "1")}),
        ("csv", ["classes=cube"], {"classes": ("cube",)}),
        ("esc50", ["fold=2"], {"fold": 2}),
        ("esc50", ["fold=2+3", "classes=dog"], {"fold": (2, 3), "classes": ("dog",)}),
        ("sund", ["rotated=False", "filled=yes"], {"rotated": False, "filled": True}),
        ("caltech101", ["split_seed=3", "background=true"], {"split_seed": 3, "background": True}),
        ("folder", ["split=1", "skip_unreadable=true"], {"split": "1", "skip_unreadable": True}),
        ("hf_datasets", ["columns.image=photo=1"], {"columns": {"image": "photo=1"}}),
        ("world", ["split=train", "n=20"], {"split": "train", "n": 20}),
    ],
)
def test_values_are_read_by_their_type(layout, given, options):
    assert loader_options(layout, given) == options


@pytest.mark.parametrize(
    ("layout", "given", "words"),
    [
        ("esc50", "flod=1", "--data-option flod=1: the layout 'esc50' takes split=..., fold=..., class_list=..."),
        ("esc50", "fold", "--data-option fold: the layout 'esc50' takes"),
        ("esc50", "fold=x", "'x' does not fit; expected a whole number, or several"),
        ("esc50", "fold=1+", "'1+' does not fit; expected a whole number, or several"),
        ("esc50", "fold=1.5", "expected a whole number"),
        ("esc50", "fold.a=1", "'fold' takes fold=VALUE"),
        ("caltech101", "background=maybe", "'maybe' does not fit; expected true or false"),
        ("caltech101", "background=1", "'1' does not fit; expected true or false"),
        ("csv", "columns=image", "'columns' takes columns.NAME=VALUE"),
        ("csv", "limit=3", "the layout 'csv' takes"),
    ],
)
def test_values_of_another_type_are_one_line(layout, given, words):
    with pytest.raises(InputError) as refusal:
        loader_options(layout, [given])
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("layout", "options", "words"),
    [
        (
            "csv",
            {"column": {}},
            "option 'column' does not exist in the layout 'csv'; expected some of modality, columns",
        ),
        ("csv", {"columns": "image"}, "option columns='image' of the layout 'csv' does not fit; expected a mapping"),
        ("csv", {"columns": {"image": 0}}, "does not fit; expected a mapping of names"),
        ("csv", {"split": 1}, "option split=1 of the layout 'csv' does not fit; expected text"),
        ("csv", {"classes": "cube"}, "option classes='cube' .* expected several of text"),
        ("csv", {"classes": [0, 1]}, "expected several of text"),
        ("csv", {"limit": "3"}, "option limit='3' .* expected a whole number"),
        ("csv", {"limit": True}, "option limit=True .* expected a whole number"),
        ("csv", {"seed": -1}, "option seed=-1 of the layout 'csv' is too small; expected at least 0"),
        ("csv", {"skip_unreadable": "no"}, "expected true or false"),
        ("csv", {"delimiter": "::"}, "delimiter '::' separates no columns; expected one sign"),
        ("csv", {"delimiter": ""}, "delimiter '' separates no columns"),
        ("caltech101", {"split_seed": -1}, "option split_seed=-1 .* at least 0"),
        ("esc50", {"fold": "1"}, "option fold='1' .* expected a whole number, or several"),
        ("esc50", {"fold": [1, 2.5]}, "expected a whole number, or several"),
        ("world", {"limit": 3}, "option 'limit' does not exist in the layout 'world'; expected some of split, n, seed"),
    ],
)
def test_options_in_python_are_checked_too(tmp_path, layout, options, words):
    (tmp_path / "a.csv").write_text("image,label\na.png,cat\n")
    picture(tmp_path / "a.png", "png", 1)
    refused(words, layout, None if layout == "world" else tmp_path, **options)


@pytest.mark.parametrize("name", DATASETS)
def test_every_option_has_a_type_that_can_be_said_and_read(name):
    for option, hint in DATASETS[name].options.items():
        assert alternatives(hint), option
        assert expected(hint)
        if option not in ALWAYS and "mapping" not in expected(hint):
            with pytest.raises(InputError, match=r"expected|takes"):
                loader_options(name, [f"{option}.inside=1"])


def test_a_csv_with_other_separators(tmp_path):
    for number in range(2):
        picture(tmp_path / f"{number}.png", "png", number)
    table = tmp_path / "list.csv"
    for sign, written in ((";", ";"), ("\t", "\\t"), ("\t", "tab"), ("|", "|")):
        table.write_text(f"image{sign}label\n0.png{sign}cat\n1.png{sign}dog\n")
        assert load_dataset("csv", table, delimiter=written).classes == ("cat", "dog")
        assert "has no ','" in refused(r"its first line has no ','.*expected the option delimiter=", "csv", table)
    table.write_text("image,label\n0.png,cat\n1.png,dog\n")
    refused("its first line has no ';'.*expected the option delimiter=,", "csv", Path(table), delimiter=";")
