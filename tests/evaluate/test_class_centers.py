"""Class centers that can be compared with, by name: what is aligned, what is refused in one line, what is warned of."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import ironbind as ib
from ironbind.attacks import FMN, PGD
from ironbind.encoders import load_encoder
from ironbind.evaluate.tasks import class_centers
from ironbind.evaluate.tasks.class_centers import coinciding, reordered, usable
from ironbind.evaluate.tasks.illusion import IllusionTask
from ironbind.evaluate.tasks.text_centers import text_centers
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.types import ClassCenters, InputError, Linf
from toys import CLASSES, LATENT, Conv, Linear, ToyData, audit, class_latent

BUDGET = Linf("2/255")


class Reads(Linear):
    """Its text side answers what the test gives for a word, else the word's own latent."""

    def extra(self, rows=None) -> None:
        self.rows = rows or {}

    def embed_text(self, texts):
        words = [text.rstrip(".").split()[-1] for text in texts]
        return torch.stack([self.rows.get(word, class_latent(word)) for word in words])


def audited(task, **options):
    return ib.audit(task, attack=PGD(steps=1), budget=BUDGET, checks=False, **options)


def clean(task) -> float:
    return audited(task).value(metric="top1", threat_model="clean")


def line(task) -> str:
    with pytest.raises(InputError) as refusal:
        task().centers  # noqa: B018
    said = str(refusal.value)
    assert "\n" not in said
    return said


# ------------------------------------------------------------------------------------------------------------ by name


def given(names, dtype=torch.float32, scale=1.0) -> ClassCenters:
    z = scale * torch.stack([class_latent(name) for name in names])
    return ClassCenters(z.to(dtype), torch.arange(len(names)), tuple(names))


def test_rows_of_more_classes_are_matched_by_name():
    data, thousand = ToyData(16), ("tench", "goldfish", *reversed(CLASSES), "ox")
    truth = clean(ib.zero_shot(Linear(), data, "image", centers=given(CLASSES)))
    assert truth > 60
    task = ib.zero_shot(Linear(), data, "image", centers=given(thousand))
    assert task.centers.names == CLASSES
    assert task.centers.z.equal(given(CLASSES).z)
    assert clean(task) == truth
    assert task.question == ib.zero_shot(Linear(), data, "image", centers=given(CLASSES)).question
    fewer = ToyData(16)
    fewer.classes, fewer.labels = ("fox", "gnu"), [0, 1] * 8
    assert task.over(fewer).centers.z.equal(given(("fox", "gnu")).z)


def test_spellings_count_as_the_same_name():
    data = ToyData(8)
    data.classes = ("night_stand", "Handstand Pushups", *CLASSES[2:])
    names = ("Hand Stand Pushups", "Night Stand", *CLASSES[2:])
    task = ib.zero_shot(Linear(), data, "image", centers=given(names))
    assert task.centers.names == data.classes
    assert task.centers.z.equal(given(names).z[[1, 0, *range(2, 8)]])


def test_several_rows_of_a_class_stay_together():
    z = normalize(torch.randn(4, LATENT, generator=torch.Generator().manual_seed(0)), dim=1)
    centers = ClassCenters(z, torch.tensor([1, 0, 1, 2]), ("hen", "ant", "ox"))
    data = ToyData(8)
    data.classes, data.labels = ("ant", "hen"), [0, 1] * 4
    own = reordered(centers, data)
    assert own.z.equal(z[[0, 2, 1]])
    assert own.label.tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_rows_of_any_length_and_precision_become_unit_rows(dtype):
    task = ib.zero_shot(Linear(), ToyData(16), "image", centers=given(CLASSES, dtype, scale=3.0))
    assert task.centers.z.dtype == torch.float32
    torch.testing.assert_close(task.centers.z.norm(dim=1), torch.ones(8))
    torch.testing.assert_close(task.centers.z, given(CLASSES).z, atol=5e-3, rtol=0)
    assert clean(task) == clean(ib.zero_shot(Linear(), ToyData(16), "image", centers=given(CLASSES)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(
    "ask",
    [lambda who: zero_shot(who, ToyData(16), "image"), lambda who: retrieval(who, ToyData(16), "image", to="audio")],
)
def test_an_encoder_of_any_precision_is_audited(dtype, ask):
    class Rounded(Linear):
        def embed(self, modality, x, space=None):
            return super().embed(modality, x, space).to(dtype)

        def embed_text(self, texts):
            return super().embed_text(texts).to(dtype)

    def values(encoder):
        return [row.value for row in audited(ask(encoder)).rows if row.metric in ("top1", "R@1")]

    torch.testing.assert_close(values(Rounded()), values(Linear()), atol=13.0, rtol=0)  # two of 16 may turn


def test_unit_rows_keep_their_bits():
    centers = given(CLASSES)
    assert usable(centers, Linear()).z.equal(centers.z)


Z = given(CLASSES).z
BAD = {
    "a bare tensor": (Z, r"Tensor of shape \[8, 16\] does not say whose rows these are; expected ClassCenters"),
    "fewer classes": (given(CLASSES[:5]), r"centers of 5 classes .* have no row for 3 classes \('fox', 'gnu', 'hen'\)"),
    "other names": (given([f"class {i}" for i in range(8)]), r"no row for 8 classes \('ant', .*\) of data set 'toys'"),
    "another width": (ClassCenters(Z[:, :9], torch.arange(8), CLASSES), r"\[8, 9\].*expected rows of 16 numbers"),
    "one axis": (ClassCenters(Z[0], torch.arange(8), CLASSES), r"shape \[16\]"),
    "integers": (ClassCenters(Z.long(), torch.arange(8), CLASSES), "torch.int64; expected rows of 16 numbers"),
    "a label too many": (ClassCenters(Z, torch.arange(9), CLASSES), r"8 rows and labels of shape \[9\]"),
    "labels with points": (ClassCenters(Z, torch.arange(8.0), CLASSES), "in torch.float32; expected the number"),
    "labels from 1": (ClassCenters(Z, 1 + torch.arange(8), CLASSES), "labels from 1 to 8; expected 0 to 7"),
    "labels below 0": (ClassCenters(Z, torch.arange(8) - 1, CLASSES), "labels from -1 to 6; expected 0 to 7"),
    "a class without rows": (ClassCenters(Z[:7], torch.arange(7), CLASSES), "no row for the class 'hen'"),
    "a name twice": (ClassCenters(Z, torch.arange(8), (*CLASSES[:7], "ant")), "name the class 'ant' twice"),
    "not finite": (
        ClassCenters(Z * torch.tensor([[1.0]] * 7 + [[torch.nan]]), torch.arange(8), CLASSES),
        "class 'hen'",
    ),
    "zero": (
        ClassCenters(Z * torch.tensor([[0.0]] * 2 + [[1.0]] * 6), torch.arange(8), CLASSES),
        r"2 classes \('ant', 'bee'\)",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_given_centers_that_do_not_fit_are_one_line(what):
    centers, said = BAD[what]
    with pytest.raises(InputError, match=said) as refusal:
        ib.zero_shot(Linear(), ToyData(8), "image", centers=centers)
    assert "\n" not in str(refusal.value)


# ------------------------------------------------------------------------------------- classes that nothing tells apart


def test_which_classes_coincide():
    z = torch.eye(6)[[0, 1, 0, 2, 1, 0]]
    z[5] += 1e-6 * torch.ones(6)  # the same text in another batch
    centers = ClassCenters(z, torch.arange(6), ("a", "b", "c", "d", "e", "f"))
    assert coinciding(centers) == [("a", "c", "f"), ("b", "e")]
    assert coinciding(given(CLASSES)) == []
    rows = torch.eye(4)[[0, 1, 1, 0, 2, 3]]
    assert coinciding(ClassCenters(rows, torch.tensor([0, 0, 1, 1, 2, 3]), ("a", "b", "c", "d"))) == [("a", "b")]


def test_blocks_change_nothing(monkeypatch):
    z = torch.eye(6)[[0, 1, 0, 2, 1, 3]]
    centers = ClassCenters(z, torch.arange(6), tuple("abcdef"))
    monkeypatch.setattr(class_centers, "BLOCK", 2)
    assert coinciding(centers) == [("a", "c"), ("b", "e")]


def test_a_few_of_many_are_a_warning_in_every_audit():
    data = ToyData(16)
    encoder = Reads(rows={"bee": class_latent("ant")})
    told = [check for check in audited(zero_shot(encoder, data, "image")).checks if check.code == "data"]
    assert [check.status for check in told] == ["warn"]
    assert "2 of 8 classes: 'ant', 'bee' (words that it does not know" in told[0].detail
    assert not [check for check in audited(zero_shot(Linear(), data, "image")).checks if check.code == "data"]
    curve = ib.curve(zero_shot(encoder, data, "image"), FMN(steps=2), BUDGET, checks=False)
    both = audited(zero_shot(encoder, data, "image"))
    both.absorb(curve)
    assert [check for check in both.checks if check.code == "data"] == told


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (dict.fromkeys(CLASSES, class_latent("ant")), ("the same center for 8 of 8 classes: "
            "'ant', 'bee', 'cow', 'dog', 'eel', ...")),
        (dict.fromkeys(CLASSES[:5], class_latent("ox")), "the same center for 5 of 8 classes"),
        ({"fox": torch.zeros(LATENT)}, "the centers of the class 'fox' are zero or not finite"),
        (dict.fromkeys(("fox", "gnu"), torch.full((LATENT,), torch.inf)), r"the centers of 2 classes ('fox', 'gnu')"),
    ],
)  # fmt: skip
def test_texts_that_say_nothing_are_one_line(rows, said):
    assert said in line(lambda: zero_shot(Reads(rows=rows), ToyData(8), "image"))
    space = Linear().inputs["image"].space
    assert said in line(lambda: IllusionTask(Reads(rows=rows), ToyData(8), "image", space))


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("Cube", "cube", "ball"), "2 of 3 classes: 'Cube', 'cube' (their names differ only in case or Unicode form)"),
        (("кошка", "собака"), "2 of 2 classes: 'кошка', 'собака' (words that it does not know"),
        (("caf\u00e9", "cafe\u0301"), "(their names differ only in case or Unicode form)"),
    ],
)
def test_the_built_in_encoder_names_what_it_cannot_read(classes, said):
    with pytest.raises(InputError) as refusal:
        text_centers(load_encoder("tiny"), classes, ("a photo of a {}.",))
    assert said in str(refusal.value)


def test_prompts_cut_before_the_class_name():
    long = "a photo of " + 40 * "the large red " + "{}."
    with pytest.raises(InputError, match="2 of 2 classes: 'cube', 'ball' .* prompts cut before the class name"):
        text_centers(load_encoder("tiny"), ("cube", "ball"), (long,))


@pytest.mark.parametrize("template", ["a photo of it", "a photo of a {name}", "a photo of a {", "{} and {}"])
def test_a_template_without_a_place_for_the_class(template):
    with pytest.raises(InputError, match="prompt template .* expected one {}"):
        text_centers(Linear(), CLASSES, (template,))


def test_captions_that_are_all_read_alike():
    class Deaf(Linear):
        def embed_text(self, texts):
            return torch.ones(len(texts), LATENT) * self.value

    for value, said in (
        (1.0, "gives all 8 captions .* the same embedding"),
        (0.0, "the caption 'ant #0-0' of sample '0-0'"),
    ):
        encoder = Deaf()
        encoder.value = value
        with pytest.raises(InputError, match=said):
            audited(retrieval(encoder, ToyData(8), "image"))


def test_a_gallery_sample_without_a_direction():
    class Dark(Linear):
        def read(self, modality, x, space):
            return super().read(modality, x, space) * (0 if modality == "audio" else 1)

    with pytest.raises(InputError, match="answers audio sample '0-0' with an embedding that is zero or not finite"):
        audited(retrieval(Dark(), ToyData(8), "image", to="audio"))


# --------------------------------------------------------------------------------------------------------------- labels


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor, lambda labels: [np.int64(one) for one in labels]])
def test_labels_are_numbers_of_any_kind(kind):
    data = ToyData(16)
    expected = clean(zero_shot(Linear(), data, "image"))
    data.labels = kind(data.labels)
    assert clean(zero_shot(Linear(), data, "image")) == expected


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (list(range(1, 9)), r"sample '0-7' has the label 8; expected 0 to 7, the numbers of its 8 classes"),
        ([-1, *range(1, 8)], "sample '0-0' has the label -1"),
        (list(CLASSES), "sample '0-0' has the label 'ant'; expected the number of its class, 0 to 7"),
        ([0.0] * 8, r"has the label 0\.0; expected the number"),
        ([0, 1], "8 samples and 2 labels"),
        ([0] * 9, "8 samples and 9 labels"),
    ],
)
def test_labels_that_name_no_class_are_one_line(labels, said):
    data = ToyData(8)
    data.labels = labels
    space = Linear().inputs["image"].space
    for ask in (lambda: zero_shot(Linear(), data, "image"), lambda: IllusionTask(Linear(), data, "image", space)):
        with pytest.raises(InputError, match=said):
            ask()


def test_one_class_is_said_instead_of_alarms():
    class OneClass(ToyData):
        def __init__(self) -> None:
            super().__init__(8)
            self.classes, self.labels = self.classes[:1], [0] * 8

    result = audit(zero_shot(Conv(), OneClass(), "image"), PGD(steps=1), Linf("1/255"))
    assert sorted((check.code, check.status) for check in result.checks) == [("C1-C22", "skipped"), ("data", "warn")]
    assert any(check.name == "one class only" for check in result.checks)
    assert all(row.value == 100 for row in result.rows if row.metric == "top1")


# ------------------------------------------------------------------------------------------------- built once


class Counts(Linear):
    """Counts the prompts that its text side reads."""

    def extra(self) -> None:
        self.prompts: list[str] = []

    def embed_text(self, texts):
        self.prompts += texts
        return super().embed_text(texts)


def test_all_tasks_of_a_backbone_read_the_prompts_once():
    """The same centers, to the bit, for other data and for what a calibration made of the encoder; of each later task
    one prompt is read, which tells whether the text side is still the same.
    """
    encoder = Counts()
    task = zero_shot(encoder, ToyData(), "image")
    z = task.centers.z
    whole = len(encoder.prompts)
    hard = ib.calibrate(task, ib.recipes.hardened_head(steps=1), ToyData(n=8, seed=1), samples=8)
    read = len(encoder.prompts)
    later = (task.over(ToyData(n=4)), task.on(hard), zero_shot(encoder, ToyData(seed=3), "image"))
    for other in later:
        assert torch.equal(other.centers.z, z)
    assert len(encoder.prompts) == read + len(later)
    assert whole >= len(CLASSES)
    assert read - whole < whole  # nor did the calibration read them all again


def test_a_text_side_that_was_changed_in_place_is_read_again():
    encoder = Reads()
    before = zero_shot(encoder, ToyData(), "image").centers.z
    encoder.rows = {CLASSES[0]: class_latent(CLASSES[1]), CLASSES[1]: class_latent(CLASSES[0])}
    after = zero_shot(encoder, ToyData(), "image").centers.z
    assert torch.equal(after[:2], before[:2].flip(0))
    assert not torch.equal(after, before)
