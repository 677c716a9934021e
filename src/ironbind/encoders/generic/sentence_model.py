"""Any model of the `sentence-transformers` library that embeds pictures, with its own prompts, chat template and
pooling: `--encoder sentence-transformers:NAME_OR_PATH`.

The library's preprocessing is asked once, for a picture of the attacked size, what the model is fed with; the pixels
among it are then replaced by those of the model's own processor on tensors, which keeps the gradient (tried with finite
differences, and compared with the library's answer for pictures).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.errors import first_line
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.generic.gradient_trial import NoGradient, check_gradient
from ironbind.encoders.generic.picture_front import ALIKE, PictureFront, picture_front
from ironbind.encoders.generic.transformers_model import refuse_absent
from ironbind.encoders.hf.encoder import refuse_parts_of_a_model, refuse_placeholders, state_sha256, without_warnings
from ironbind.types import InputError

PREFIX = "sentence-transformers:"


def load(
    weights: str,
    modalities: str | Iterable[str] | None = None,
    device: str | torch.device = "cpu",
    *,
    revision: str | None = None,
    size: tuple[int, int] | None = None,
) -> CallableEncoder:
    """The model in a folder or under a name on the Hub (remote code is never run). `size`: of pictures, for processors
    that take any size. Raises InputError when `sentence-transformers` is missing, the model cannot be loaded or embeds
    no pictures, and, with the reason, when its processor detaches.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise InputError(
            f"encoder '{PREFIX}{weights}' needs the sentence-transformers library; expected"
            " `pip install ironbind[sentence-transformers]`"
        ) from None
    refuse_absent(PREFIX, weights)
    refuse_placeholders(Path(weights))
    wanted = (modalities,) if isinstance(modalities, str) else tuple(modalities) if modalities is not None else None
    if wanted is not None and set(wanted) - {"image", "text"}:
        raise InputError(f"encoder '{PREFIX}{weights}' offers image and text here, not {', '.join(wanted)}")
    try:
        with without_warnings(), loading_reports() as reports:  # what it would warn of is refused
            model = SentenceTransformer(weights, revision=revision, device=str(device), trust_remote_code=False)
        for part, report in reports:
            refuse_parts_of_a_model(weights, part, report)
    except InputError:
        raise
    except Exception as error:  # the library's parsers throw anything at a damaged or foreign file
        raise InputError(
            f"encoder '{PREFIX}{weights}' cannot be loaded ({type(error).__name__}: {first_line(error)}); expected a"
            " folder with a whole sentence-transformers model, or its name on the Hugging Face hub"
        ) from None
    name = f"{PREFIX}{Path(weights).name if Path(weights).exists() else weights}"
    return from_sentence_transformer(name, model, size)


@contextmanager
def loading_reports() -> Iterator[list[tuple[Any, dict[str, Any]]]]:
    """Within the block: every model of transformers that is loaded, with what the library reports of its tensors. It
    gives that report only to those who ask when loading, and sentence-transformers does not.
    """
    from transformers import PreTrainedModel

    library: Any = PreTrainedModel
    original = library.__dict__["from_pretrained"]
    reports: list[tuple[Any, dict[str, Any]]] = []

    def loaded(cls: Any, *args: Any, output_loading_info: bool = False, **options: Any) -> Any:
        model, report = original.__func__(cls, *args, output_loading_info=True, **options)
        reports.append((model, report))
        return (model, report) if output_loading_info else model

    library.from_pretrained = classmethod(loaded)
    try:
        yield reports
    finally:
        library.from_pretrained = original


def from_sentence_transformer(name: str, model: Any, size: tuple[int, int] | None = None) -> CallableEncoder:
    """A SentenceTransformer as an Encoder of pictures and texts, frozen and in evaluation mode. Raises InputError, with
    the reason, for one whose pictures cannot be attacked.
    """
    model.requires_grad_(False).eval()
    processor = getattr(model[0], "processor", None)
    processor = getattr(processor, "image_processor", processor)
    if processor is None or not hasattr(processor, "preprocess"):
        raise InputError(
            f"encoder {name!r} cannot be attacked: it has no picture processor; expected a model of pictures"
        )
    try:
        pictures = SentencePictures(model, picture_front(processor, size))
        pictures.check()
        check_gradient(pictures, pictures.front.shape, 0.0, 1.0, model.device)
    except NoGradient as error:
        raise InputError(f"encoder {name!r} cannot be attacked: image: {error}") from None
    spec = pictures.front.spec()
    with torch.no_grad():
        width = pictures(torch.full((1, *spec.shape), 0.5, device=model.device)).shape[1]
    functions = {("image", spec.space.name): pictures}
    return CallableEncoder(name, width, {"image": spec}, state_sha256(model), functions, partial(_texts, model), model)


@dataclass(frozen=True)
class SentencePictures:
    """From pictures in [0, 1] to the model's embeddings, differentiable."""

    model: Any = field(repr=False)
    front: PictureFront
    fed: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)  # by number of pictures, the last one

    def __call__(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        features = dict(self._features_of_blanks(len(x)))
        features |= {name: value for name, value in self.front.features(x).items() if name in features}
        moved = {name: v.to(x.device) if isinstance(v, Tensor) else v for name, v in features.items()}
        z: Tensor = self.model(moved)["sentence_embedding"]
        return z

    def _features_of_blanks(self, count: int) -> dict[str, Any]:
        """What the model is fed with for so many pictures, of which only the pixels differ from call to call."""
        if count not in self.fed:
            blank = PIL.Image.new("RGB", self.front.shape[:0:-1])
            prompt = self.model.prompts.get(self.model.default_prompt_name) if self.model.default_prompt_name else None
            self.fed.clear()
            self.fed[count] = dict(self.model.preprocess([{"image": blank}] * count, prompt=prompt))
        return self.fed[count]

    def check(self) -> None:
        """Raises NoGradient where the library's own answer for a picture is another."""
        rows = np.random.default_rng(1).integers(0, 256, (*self.front.shape[1:], 3), dtype=np.uint8)
        picture = PIL.Image.fromarray(rows)
        try:
            with torch.no_grad():
                own = self.model.encode([{"image": picture}], convert_to_tensor=True, show_progress_bar=False)
                x = torch.from_numpy(rows).permute(2, 0, 1).float()[None] / 255
                ours = self(x.to(self.model.device))
        except Exception as error:  # whatever a model of anybody's throws
            said = " ".join(str(error).split())[:100]
            raise NoGradient(
                f"the model takes no pictures ({type(error).__name__}: {said}); expected one that does"
            ) from error
        apart = float(
            (torch.nn.functional.normalize(own.float(), dim=-1) - torch.nn.functional.normalize(ours.float(), dim=-1))
            .abs()
            .max()
        )
        if apart > ALIKE:
            raise NoGradient(f"its pixels as tensors are embedded otherwise than pictures, by {apart:.2g}")


def _texts(model: Any, texts: list[str]) -> Float[Tensor, "n d"]:
    z: Tensor = model.encode(texts, convert_to_tensor=True, show_progress_bar=False)
    return z
