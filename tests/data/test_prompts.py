"""Prompts and class names: counts and spellings that published numbers rest on."""

import hashlib

import pytest

from ironbind.data.names.class_names import KNOWN, class_names, data_set_of, plain, texts_for
from ironbind.data.names.prompts import IMAGENET_80, PROMPTS, prompts_named
from ironbind.types import InputError

COUNTS = {
    "esc50": 50, "urbansound8k": 10, "modelnet40": 40, "ucf101": 101, "caltech101": 101, "ncaltech101": 100,
    "scanobjectnn": 15, "shapenet": 55, "msrvtt": 20, "llvip": 2, "nyud": 10,
}  # fmt: skip


def test_openais_templates():
    assert len(IMAGENET_80) == len(set(IMAGENET_80)) == 80
    assert IMAGENET_80[0] == "a bad photo of a {}."
    assert IMAGENET_80[39] == "a photo of a {}."
    assert IMAGENET_80[79] == "a tattoo of the {}."
    assert all(one.count("{}") == 1 for one in IMAGENET_80)
    # of OPENAI_IMAGENET_TEMPLATES in open_clip_torch 3.3.0, each with {} for the class, joined by line ends
    assert hashlib.sha256("\n".join(IMAGENET_80).encode()).hexdigest()[:16] == "4f976686fb651bb5"


def test_languagebinds_variants():
    found = prompts_named("languagebind")
    assert found.templates_for("image") == found.templates_for("thermal") == IMAGENET_80
    assert found.templates_for("video")[:2] == ("a bad video of a {}.", "a video of many {}.")
    assert found.templates_for("depth")[3] == "a depth photo of the hard to see {}."
    assert "photo" not in "".join(found.templates_for("video"))
    assert found.templates_for("audio") == ("a sound of {}.",)
    assert found.classes_for("llvip", ("background", "person")) == ("background", "people")
    assert found.classes_for("esc50", ("dog", "sea waves")) == ("dog", "sea waves")
    with pytest.raises(InputError, match="prompts 'languagebind' has none for point; expected one of image, thermal"):
        found.templates_for("point")


def test_names_that_others_use():
    assert texts_for("clip", "caltech101", ["Faces easy", "ant"]) == ("centered face", "ant")
    assert texts_for("clip", "ncaltech101", ["car_side"]) == ("side of a car",)
    assert texts_for("clip", "unheard of", ["car side"]) == ("car side",)
    assert texts_for("", "llvip", ["person"]) == ("person",)


@pytest.mark.parametrize("name", KNOWN)
def test_class_lists(name):
    found = class_names(name)
    assert len(found) == len({plain(one) for one in found}) == COUNTS[name]
    assert all(one == one.strip() and "_" not in one and "  " not in one for one in found)


def test_the_order_that_label_numbers_mean():
    assert [class_names("esc50")[number] for number in (0, 10, 14, 20, 36, 49)] == [
        "dog", "rain", "chirping birds", "crying baby", "vacuum cleaner", "hand saw",
    ]  # fmt: skip
    assert [class_names("urbansound8k")[number] for number in (1, 3, 9)] == ["car horn", "dog bark", "street music"]
    assert [class_names("modelnet40")[number] for number in (0, 23, 39)] == ["airplane", "night stand", "xbox"]
    assert [class_names("ucf101")[number - 1] for number in (1, 21, 32, 101)] == [
        "Apply Eye Makeup", "Clean And Jerk", "Front Crawl", "Yo Yo",
    ]  # fmt: skip
    assert [class_names("scanobjectnn")[number] for number in (0, 7, 14)] == ["bag", "door", "toilet"]


def test_whose_classes_a_folder_has():
    assert data_set_of([one.replace(" ", "_").upper() for one in class_names("esc50")]) == "esc50"
    assert data_set_of(class_names("modelnet40")[:25]) == "modelnet40"
    assert data_set_of(class_names("caltech101")) == "caltech101"
    assert data_set_of(class_names("ncaltech101")) == "ncaltech101"
    assert data_set_of(["background", "person"]) == "llvip"
    assert data_set_of(["cat", "dog"]) is None  # two of ESC-50's fifty
    assert data_set_of(["cat", "quokka"]) is None
    assert data_set_of([]) is None


@pytest.mark.parametrize("name", PROMPTS)
def test_every_set_says_where_it_is_from(name):
    found = prompts_named(name)
    assert found.name == name
    assert found.source
    assert all(one.count("{}") == 1 for templates in found.templates.values() for one in templates)


def test_templates_of_ones_own(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("the {}\n\n a {} indeed\n")
    assert prompts_named(str(path)).templates_for("point") == ("the {}", "a {} indeed")
    path.write_text("no place for a class\n")
    with pytest.raises(
        InputError, match="mine.txt: has the line 'no place for a class'; expected prompts with one {} each"
    ):
        prompts_named(str(path))
    with pytest.raises(InputError, match="nowhere.txt: no such file"):
        prompts_named(str(tmp_path / "nowhere.txt"))
    with pytest.raises(InputError, match="set of prompts 'languagebnd' is not known; did you mean 'languagebind'"):
        prompts_named("languagebnd")


def test_names_that_hold_a_word_of_the_code():
    """Renaming an identifier must leave the authors' names alone."""
    assert "Front Crawl" in class_names("ucf101")
    assert all("FrontEnd" not in name for data_set in KNOWN for name in class_names(data_set))
