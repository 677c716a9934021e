"""CLIP-shaped checkpoints of open_clip as Encoders, without open_clip: their tensors under the names of `transformers`'
CLIPModel (extra `hf`), their preprocessing in ours.

    load_encoder("open_clip", weights="hf-hub:chs20/fare2-clip")        # a name on the Hub
    load_encoder("open_clip", weights="folder/")                        # open_clip_config.json and weights
    load_encoder("open_clip", weights="simclip4.pt", whole="folder/")   # a picture tower alone
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.hf.encoder import from_model
from ironbind.encoders.open_clip.open_clip_names import TOWERS, transformers_config, transformers_state
from ironbind.encoders.shared.checkpoint import file_sha256, read_checkpoint, read_json
from ironbind.encoders.shared.clip_tokens import CONTEXT, END, tokenize
from ironbind.types import InputError

CONFIG = "open_clip_config.json"
FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
PREFIX = "hf-hub:"
RESAMPLE = {"bicubic": 3, "bilinear": 2, "nearest": 0}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's, open_clip's default
TOWER_OF = {"open_clip": {"image": "image", "text": "text"}}


def load(
    weights: str | Path | None = None,
    modalities: str | Iterable[str] | None = None,
    device: str | torch.device = "cpu",
    *,
    whole: str | Path | None = None,
    vocabulary: str | Path | None = None,
) -> CallableEncoder:
    """A checkpoint in a folder, a file beside its open_clip_config.json, or under a name on the Hub, "hf-hub:org/name".

    `whole`: the checkpoint of the whole model, where `weights` is a file of its picture tower alone (as FARE, TeCoA and
    Sim-CLIP are published too). `vocabulary`: see `clip_tokens`. Raises InputError for what cannot be had or read, and,
    naming the setting or tensor, for a model with other parts than CLIP's.
    """
    if weights is None:
        raise InputError(
            f"weights=None: open_clip needs a checkpoint; expected {PREFIX}org/name, or a folder with {CONFIG} and "
            f"{' or '.join(FILES)} (`ironbind weights` names robust ones)"
        )
    try:
        import transformers
    except ImportError:
        raise InputError(
            "encoder 'open_clip' needs the transformers library; expected `pip install ironbind[hf]`"
        ) from None
    file, config = _files(str(whole if whole is not None else weights))
    about = read_json(config)
    where = str(config)
    if not isinstance(about.get("model_cfg"), Mapping):
        raise InputError(f"{where}: has no model_cfg; expected open_clip's configuration")
    tensors = read_checkpoint(file)
    if whole is not None:
        tensors |= _picture_tower(Path(str(weights)))
    elif not any(name in tensors for name in ("token_embedding.weight", "text.token_embedding.weight")):
        raise InputError(
            f"weights {str(file)!r} hold no text tower; expected a whole model, or the option whole=CHECKPOINT with it"
        )
    with torch.device("meta"):
        model: Any = transformers.CLIPModel(transformers.CLIPConfig(**transformers_config(about["model_cfg"], where)))
    _load(model, transformers_state(tensors, str(file)), str(file))
    spec = _pixels(about, where)
    context = model.config.text_config.max_position_embeddings
    name = f"open_clip:{_called(str(weights))}"
    encoder = from_model(name, model.to(device), Tokens(context, vocabulary), image=spec, modalities=modalities)
    read = [file, config, *([Path(str(weights))] if whole is not None else [])]
    digest = hashlib.sha256(" ".join(map(file_sha256, read)).encode()).hexdigest()  # the activation is in the config
    return replace(encoder, weights_sha256=digest, official=None)


class Tokens:
    """CLIP's tokenizer as `transformers` calls tokenizers: texts to ids of one length, the end token kept."""

    def __init__(self, context: int, vocabulary: str | Path | None) -> None:
        if context > CONTEXT:
            raise InputError(f"texts of {context} tokens are not known; expected a context_length of at most {CONTEXT}")
        self.context, self.vocabulary = context, vocabulary

    def __call__(self, texts: list[str], **_: Any) -> Any:
        """What the model takes, by name."""
        from transformers import BatchEncoding

        return BatchEncoding({"input_ids": self._ids(texts)})

    def _ids(self, texts: list[str]) -> Int[Tensor, "n context"]:
        ids = tokenize(texts, vocabulary=self.vocabulary)
        cut = ids[:, : self.context].clone()
        longer = (ids[:, self.context :] != 0).any(dim=1)
        cut[longer, -1] = END
        return cut


def _files(weights: str) -> tuple[Path, Path]:
    """The file of tensors and the configuration beside it. Raises InputError."""
    if weights.startswith(PREFIX):
        return _from_hub(weights.removeprefix(PREFIX))
    place = Path(weights).expanduser()
    expected = f"expected a folder with {CONFIG} and {' or '.join(FILES)}, such a file, or {PREFIX}org/name"
    if not place.exists():
        raise InputError(f"weights {weights!r} are not there; {expected}")
    folder = place if place.is_dir() else place.parent
    file = next((folder / name for name in FILES if (folder / name).is_file()), None) if place.is_dir() else place
    if file is None:
        raise InputError(f"weights {weights!r} hold no tensors; {expected}")
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"weights {weights!r} have no {CONFIG} beside them, which says sizes and activation; {expected}"
        )
    return file, folder / CONFIG


def _from_hub(repository: str) -> tuple[Path, Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        config = Path(hf_hub_download(repository, CONFIG))
        for name in FILES:
            try:
                return Path(hf_hub_download(repository, name)), config
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                continue
    except Exception as error:  # whatever the hub and the connection throw
        said = " ".join(str(error).split())[:120]
        raise InputError(
            f"weights '{PREFIX}{repository}' cannot be fetched ({type(error).__name__}: {said}); expected a network, "
            "or a name of the Hub with an open_clip checkpoint"
        ) from None
    raise InputError(
        f"weights '{PREFIX}{repository}' hold none of {', '.join(FILES)}; expected an open_clip checkpoint"
    )


def _picture_tower(file: Path) -> dict[str, Tensor]:
    """The tensors of a file of the picture tower alone, by the names that the whole model has for them."""
    tower = {f"visual.{name.removeprefix('visual.')}": tensor for name, tensor in read_checkpoint(file).items()}
    foreign = next((name for name in tower if not any(name.startswith(own) for own in TOWERS)), None)
    if foreign is not None or "visual.conv1.weight" not in tower:
        raise InputError(
            f"weights {str(file)!r} are no picture tower of open_clip ({foreign or 'no conv1.weight'}); expected its "
            "visual.state_dict()"
        )
    return tower


def _load(model: Any, state: dict[str, Tensor], where: str) -> None:
    wanted = model.state_dict()
    missing = sorted(set(wanted) - set(state))
    more = sorted(set(state) - set(wanted))
    unlike = next((name for name in wanted if name in state and state[name].shape != wanted[name].shape), None)
    if missing or more or unlike is not None:
        reason = (
            f"lack {len(missing)} tensors, first {missing[0]!r}" if missing
            else f"hold {len(more)} tensors too many, first {more[0]!r}" if more
            else f"hold {unlike!r} of shape {tuple(state[str(unlike)].shape)}, not {tuple(wanted[unlike].shape)}"
        )  # fmt: skip
        raise InputError(f"weights {where!r} {reason}; expected the model that {CONFIG} describes")
    model.to_empty(device="cpu")
    with torch.no_grad():
        for name, value in model.named_buffers():  # positions, which no file holds
            value.copy_(torch.arange(value.numel()).reshape(value.shape))
            assert name.endswith("position_ids")
    model.load_state_dict(state)


def _pixels(about: Mapping[str, Any], where: str) -> dict[str, Any]:
    """open_clip's preprocessing as the configuration of an image processor. Raises InputError for another kind."""
    told = dict(about.get("preprocess_cfg") or {})
    side = int(about["model_cfg"]["vision_cfg"].get("image_size", 224))
    mode, interpolation = told.get("resize_mode", "shortest"), told.get("interpolation", "bicubic")
    if mode not in ("shortest", "squash") or interpolation not in RESAMPLE:
        raise InputError(
            f"{where}: its preprocessing (resize_mode={mode!r}, interpolation={interpolation!r}) is not known; "
            f"expected shortest or squash, {' or '.join(RESAMPLE)}"
        )
    whole = {"height": side, "width": side}
    return {
        "size": {"shortest_edge": side} if mode == "shortest" else whole,
        "crop_size": whole,
        "do_center_crop": mode == "shortest",
        "margins_rounded": True,  # torchvision's crop
        "resample": RESAMPLE[interpolation],
        "image_mean": list(told.get("mean", MEAN)),
        "image_std": list(told.get("std", STD)),
    }


def _called(weights: str) -> str:
    return weights.removeprefix(PREFIX) if weights.startswith(PREFIX) else Path(weights).name
