"""Which centers a task compares with: prompts written out by hand, files matched by name, a cache that is right or
silent.
"""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import normalize

from ironbind.data.names.prompts import IMAGENET_80
from ironbind.encoders.unibind.center_files import convert_centers, load_centers, of_rows
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.metrics import class_scores, rank_of_truth
from ironbind.runs import center_cache as module
from ironbind.runs.center_cache import built_centers, centers_for
from ironbind.runs.centers_by_name import aligned
from ironbind.runs.prompted_tasks import templates_for
from ironbind.types import ClassCenters, InputError
from toys import CLASSES, LATENT, Conv, Linear, ToyData


class Reader(Linear):
    """Its text side is a function of every word of a prompt, and counts how often it is asked."""

    asked = 0

    def embed_text(self, texts):
        self.asked += len(texts)
        rows = [torch.tensor([float(sum(map(ord, text[i::LATENT]))) for i in range(LATENT)]) for text in texts]
        return normalize(torch.stack(rows).sin(), dim=-1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IRONBIND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "centers"


def by_hand(encoder, classes, templates) -> torch.Tensor:
    """CLIP's recipe, prompt by prompt: embed, normalise, mean, normalise."""
    rows = []
    for name in classes:
        each = [normalize(encoder.embed_text([template.replace("{}", name)])[0], dim=0) for template in templates]
        rows.append(normalize(sum(each) / len(each), dim=0))
    return torch.stack(rows)


def test_centers_are_the_ensemble_written_by_hand():
    encoder, data = Reader(), ToyData(8)
    data.name = "llvip"
    data.classes = ("background", "person")
    data.labels = [0, 1] * 4
    made = centers_for(encoder, data, "image", prompts="languagebind")
    torch.testing.assert_close(made.z, by_hand(encoder, ("background", "people"), IMAGENET_80))
    assert made.names == data.classes
    assert made.label.tolist() == [0, 1]
    plain = centers_for(encoder, data, "image")
    torch.testing.assert_close(plain.z, by_hand(encoder, data.classes, templates_for(data, "image")))
    assert plain.z.equal(zero_shot(encoder, data, "image", templates=templates_for(data, "image")).centers.z)


# ------------------------------------------------------------------------------------------------------ files of rows


def test_rows_of_a_file_are_matched_by_name(tmp_path):
    data = ToyData(8)
    rows = {name.upper(): torch.randn(2 + i, LATENT) for i, name in enumerate(reversed(CLASSES))}
    save_file({**rows, "another": torch.randn(4, LATENT)}, tmp_path / "c.safetensors")
    made = centers_for(Linear(), data, "image", centers=tmp_path / "c.safetensors")
    assert made.names == CLASSES
    for number, name in enumerate(CLASSES):
        torch.testing.assert_close(made.z[made.label == number], normalize(rows[name.upper()], dim=1))
    with pytest.raises(InputError, match="exclude each other"):
        centers_for(Linear(), data, "image", centers=tmp_path / "c.safetensors", prompts="names")


def test_languagebinds_words_are_known_as_names():
    rows = of_rows({"People": torch.eye(3)[:2], "background": torch.eye(3)[2]})
    made = aligned(rows, ("background", "person"), "c")
    assert made.label.tolist() == [0, 1, 1]
    assert made.z.equal(torch.eye(3)[[2, 0, 1]])


def test_top5_pools_rows_before_it_counts():
    """Fifty rows of a class are one answer, not fifty."""
    generator = torch.Generator().manual_seed(0)
    names = tuple("abcdefgh")
    rows = {name: normalize(torch.randn(50, 12, generator=generator), dim=1) for name in names}
    centers = of_rows(rows)
    z = normalize(torch.randn(40, 12, generator=generator), dim=1)
    label = torch.randint(0, 8, (40,), generator=generator)
    ranks = []
    for i in range(40):
        best = {name: max(float(z[i] @ row) for row in rows[name]) for name in names}
        ranks.append(sorted(best, key=best.get, reverse=True).index(names[int(label[i])]) + 1)
    assert rank_of_truth(class_scores(z, centers), label).tolist() == ranks
    assert len(set(ranks)) == 8
    nearest = (z @ centers.z.T).topk(5, dim=1).indices // 50  # what the five nearest rows would have said
    assert any(int(label[i]) in nearest[i].tolist() and ranks[i] <= 5 for i in range(40))
    assert sum(rank <= 5 for rank in ranks) > sum(int(label[i]) in nearest[i].tolist() for i in range(40))


def test_unibinds_pickle_and_what_was_made_of_it_are_the_same(tmp_path):
    rows = {"dog": torch.randn(50, 1024), "cat": torch.randn(50, 1024)}
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(rows))
    convert_centers(tmp_path / "c.pkl", tmp_path / "c.safetensors")
    first, second = load_centers(tmp_path / "c.pkl"), load_centers(tmp_path / "c.safetensors")
    assert first.z.equal(second.z)
    assert first.names == second.names == ("dog", "cat")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"ant": torch.ones(2, 3), "bee": torch.ones(2, 4)}, "class 'bee' has shape"),
        ({"ant": torch.zeros(2, 3)}, "zero or not finite"),
        ({"ant": torch.full((1, 3), torch.nan)}, "zero or not finite"),
        ({"ant": torch.ones(2, 2, 3)}, "class 'ant' has shape"),
        ({"ant": torch.ones(0, 3)}, "class 'ant' has shape"),
        ({}, "hold no class"),
    ],
)
def test_rows_that_are_none(rows, message):
    with pytest.raises(InputError, match=message):
        of_rows(rows)


def test_files_that_do_not_fit(tmp_path):
    save_file({"ant": torch.ones(1, LATENT)}, tmp_path / "few.safetensors")
    with pytest.raises(InputError, match=r"few.safetensors' have no row for the class 'bee'; expected all 8 classes"):
        centers_for(Linear(), ToyData(8), "image", centers=tmp_path / "few.safetensors")
    save_file({name: torch.ones(1, 5) for name in CLASSES}, tmp_path / "narrow.safetensors")
    with pytest.raises(InputError, match="have 5 numbers a row; expected 16"):
        centers_for(Linear(), ToyData(8), "image", centers=tmp_path / "narrow.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"{}")
    with pytest.raises(InputError, match="bad.safetensors' cannot be read"):
        load_centers(tmp_path / "bad.safetensors")
    with pytest.raises(InputError, match="two classes of one name"):
        aligned(of_rows({"Ant": torch.eye(2), "ant": torch.eye(2)}), ["ant"], "c")


def test_given_rows_follow_the_classes_of_training_data():
    centers = ClassCenters(torch.eye(LATENT)[:9], torch.tensor([0, 0, *range(1, 8)]), CLASSES)
    task = zero_shot(Linear(), ToyData(8), "image", centers=centers)
    train = ToyData(6)
    train.classes = ("hen", "ant")
    train.labels = [0, 1] * 3
    moved = task.over(train).centers
    assert moved.label.tolist() == [0, 1, 1]
    assert moved.z.equal(torch.eye(LATENT)[[8, 0, 1]])
    assert task.over(ToyData(4)).centers.z.equal(centers.z)
    train.classes = ("hen", "ox")
    with pytest.raises(InputError, match="no row for the class 'ox'"):
        task.over(train)


# -------------------------------------------------------------------------------------------------------------- cache


def test_what_took_long_is_not_computed_again(cache):
    first, templates = Reader(), ("the {}", "a {} indeed")
    made = built_centers(first, CLASSES, templates, worth=0.0)
    assert (first.asked, len(list(cache.iterdir()))) == (16 + 1, 1)  # one prompt, to know the text side by
    again = Reader()
    assert built_centers(again, CLASSES, templates, worth=0.0).z.equal(made.z)
    assert again.asked == 1
    for classes, other, options in (
        (CLASSES[:7], templates, ()),
        (CLASSES, templates[:1], ()),
        (CLASSES, templates, (("keep_end", True),)),
    ):
        built_centers(again, classes, other, options=options, worth=0.0)
    assert again.asked == 1 + 7 * 2 + 8 + 16 + 3  # other classes, prompts, ways of loading: other entries
    built_centers(again, CLASSES, templates, options=(("device", "cpu"), ("modalities", ("image",))), worth=0.0)
    assert again.asked == 1 + 7 * 2 + 8 + 16 + 3 + 1
    with torch.no_grad():
        other = Reader()
        other.image += 0.1
    built_centers(other, CLASSES, templates, worth=0.0)
    assert other.asked == 16 + 1  # other weights


def test_another_tokenizer_under_the_same_weights_is_another_text_side(cache):
    class Reversed(Reader):
        def embed_text(self, texts):
            return super().embed_text([text[::-1] for text in texts])

    other = Reversed()
    other.name = Reader().name
    assert other.weights_sha256 == Reader().weights_sha256
    built_centers(Reader(), CLASSES, ("{}",), worth=0.0)
    assert built_centers(other, CLASSES, ("{}",), worth=0.0).z.equal(built_centers(other, CLASSES, ("{}",)).z)
    assert not built_centers(other, CLASSES, ("{}",)).z.equal(built_centers(Reader(), CLASSES, ("{}",)).z)
    assert len(list(cache.iterdir())) == 1


def test_the_quick_leave_nothing_behind(cache):
    built_centers(Reader(), CLASSES, ("the {}",))
    assert not cache.exists()


@pytest.mark.parametrize("spoilt", [b"", b"garbage" * 100])
def test_a_damaged_entry_is_made_again(cache, spoilt):
    made = built_centers(Reader(), CLASSES, ("{}",), worth=0.0)
    (entry,) = cache.iterdir()
    entry.write_bytes(spoilt)
    again = Reader()
    assert built_centers(again, CLASSES, ("{}",), worth=0.0).z.equal(made.z)
    assert again.asked == 8 + 1


def test_blocks_give_the_whole_and_survive_a_kill(cache, monkeypatch):
    encoder, templates, told = Reader(), ("the {}", "a {}"), []
    whole = built_centers(encoder, CLASSES, templates)
    monkeypatch.setattr(module, "BLOCK", 6)

    class Tired(Reader):
        def embed_text(self, texts):
            if self.asked >= 14:
                raise KeyboardInterrupt
            return super().embed_text(texts)

    tired = Tired()
    tired.name = encoder.name
    with pytest.raises(KeyboardInterrupt):
        built_centers(tired, CLASSES, templates, worth=0.0)
    assert len(list(cache.iterdir())) == 2
    again = Reader()
    made = built_centers(again, CLASSES, templates, worth=0.0, progress=lambda *event: told.append(event))
    assert again.asked == 4 + 3
    assert made.z.equal(whole.z)
    assert made.label.tolist() == list(range(8))
    assert told == [("prompts", 3, 8), ("prompts", 6, 8), ("prompts", 8, 8)]


def test_no_classes_and_no_place_to_write(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="at least one class name"):
        built_centers(Conv(), (), ("{}",))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IRONBIND_CACHE", str(tmp_path / "file"))
    assert len(built_centers(Reader(), CLASSES, ("{}",), worth=0.0)) == 8
