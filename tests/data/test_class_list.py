"""Some classes of many: with the list of all, those without a sample stay rivals."""

import numpy as np
import pytest
import torch
from PIL import Image

import ironbind as ib
from ironbind.data import likeliest
from ironbind.data.loader_options import loader_options
from ironbind.types import InputError


@pytest.fixture
def some_pets(tmp_path):
    for name in ("fox", "night_owl"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(tmp_path / "pets" / name / "0.png")
    (tmp_path / "all.txt").write_text("cat\nNight owl\ndog\nfox\n")
    return tmp_path


def test_all_classes_of_the_list_are_rivals(some_pets):
    options = loader_options("folder", [f"class_list={some_pets / 'all.txt'}"])
    data = ib.load_dataset("folder", some_pets / "pets", modality="image", **options)
    assert data.classes == ("cat", "Night owl", "dog", "fox")
    assert [data.classes[label] for label in data.labels] == ["fox", "Night owl"]
    assert "2 of the 4 classes of the list have samples; all of them are rivals" in data.notes


def test_centers_of_more_classes_stay_whole(some_pets):
    encoder = ib.load_encoder("tiny")
    names = ("fox", "dog", "cat", "night owl")
    centers = ib.ClassCenters(torch.eye(4, encoder.dim), torch.arange(4), names)
    data = ib.load_dataset("folder", some_pets / "pets", modality="image", class_list=some_pets / "all.txt")
    own = ib.zero_shot(encoder, data, "image", centers=centers).centers
    assert len(own) == 4
    assert [int(own.z[number].argmax()) for number in range(4)] == [2, 3, 1, 0]


def test_lists_that_do_not_fit(some_pets):
    for text, line in (
        ("cat\ndog\n", "class 'fox' is not in the class list of 2 names; expected all 2 classes"),
        ("fox\nFOX\nnight owl\n", "the class list of 3 names has two of one name"),
        ("\n", "holds no name; expected class names, one a line"),
    ):
        (some_pets / "all.txt").write_text(text)
        with pytest.raises(InputError, match=line):
            ib.load_dataset("folder", some_pets / "pets", modality="image", class_list=some_pets / "all.txt")
    with pytest.raises(InputError, match="exclude each other: the one widens, the other narrows"):
        ib.load_dataset(
            "folder", some_pets / "pets", modality="image", class_list=some_pets / "all.txt", classes=["fox"]
        )


def test_a_flat_folder_is_told_what_was_expected(some_pets):
    with pytest.raises(
        InputError, match="fox: holds files but no folders; expected a folder for each class, <class>/<"
    ):
        likeliest(some_pets / "pets" / "fox")
