"""An encoder of ours as a model of the benchmark library mteb, so that its evaluator measures clean quality: the ports,
hardened encoders, any Encoder.

Needs mteb: `pip install 'ironbind[mteb]'`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import kind_of, read_bytes
from ironbind.numerics.batching import padded
from ironbind.numerics.networks import device_of, frozen, parameter_count
from ironbind.types import Audio, Decoded, Encoder, Image, InputError, Video, checked_encoder

TAKEN = ("image", "audio", "video", "text")  # what mteb's batches hold, as far as ours is concerned


def mteb_model(encoder: Encoder, name: str | None = None) -> Any:
    """The encoder as mteb takes models: `mteb.evaluate(ironbind.mteb_model(encoder), tasks)`.

    `name`: what mteb calls it in its results (None: "ironbind/<encoder>"). Texts are embedded as they are, without
    templates. Raises InputError without mteb, and for what is no encoder.
    """
    checked_encoder(encoder)
    try:
        from mteb.models.model_meta import ModelMeta, ScoringFunction
    except ImportError as error:
        raise InputError(
            f"mteb_model: needs mteb ({error}); expected it installed: pip install 'ironbind[mteb]'"
        ) from None
    meta = ModelMeta.create_empty(
        {
            "name": name or f"ironbind/{encoder.name}",
            "revision": encoder.weights_sha256[:40] or None,
            "n_parameters": parameter_count(encoder),
            "embed_dim": encoder.dim,
            "similarity_fn_name": ScoringFunction.COSINE,
            "framework": ["PyTorch"],
            "modalities": [*(kind for kind in TAKEN if kind in encoder.inputs), "text"],
        }
    )
    return MtebModel(encoder, meta)


class MtebModel:
    """An object with the members of mteb's EncoderProtocol. `mteb_model_meta`: what mteb notes of a model."""

    def __init__(self, encoder: Encoder, meta: Any) -> None:
        self.encoder, self.mteb_model_meta = encoder, meta

    def encode(self, inputs: Iterable[Mapping[str, Any]], **about: Any) -> Float[Tensor, "n d"]:
        """Unit embeddings of all batches, on the CPU, in float32. `about`: what mteb tells of the task, which changes
        nothing here. Raises InputError for samples of several modalities at once, and of one that the encoder does not
        take.
        """
        with frozen(self.encoder), torch.no_grad():
            parts = [self._batch(batch) for batch in inputs]
        return torch.cat(parts) if parts else torch.empty(0, self.encoder.dim)

    def _batch(self, batch: Mapping[str, Any]) -> Float[Tensor, "b d"]:
        kinds = [kind for kind in TAKEN if kind in batch]
        if len(kinds) != 1:
            raise InputError(
                f"mteb hands over {' and '.join(kinds) or 'nothing'} of one sample ({', '.join(batch)}); "
                f"expected tasks of one modality a side, of {', '.join(TAKEN)}"
            )
        (kind,) = kinds
        if kind == "text":
            return self.encoder.embed_text([str(text) for text in batch[kind]]).float().cpu()
        if kind not in self.encoder.inputs:
            raise InputError(
                f"encoder {self.encoder.name!r} does not take {kind}; it takes {', '.join(self.encoder.inputs)}"
            )
        prepare = self.encoder.inputs[kind].prepare
        x = torch.stack([prepare(_DECODED[kind](sample)) for sample in batch[kind]])
        embed = padded(lambda native: self.encoder.embed(kind, native))  # no sample feels its batch
        return embed(x.to(device_of(self.encoder))).float().cpu()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Float[Tensor, "n m"]:
        """Cosines of every pair."""
        return padded(lambda rows: rows @ _unit(embeddings2).T)(_unit(embeddings1))

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Float[Tensor, " n"]:
        """Cosines of row i with row i."""
        return (_unit(embeddings1) * _unit(embeddings2)).sum(dim=-1)


def _unit(embeddings: Any) -> Float[Tensor, "n d"]:
    rows = torch.as_tensor(np.asarray(embeddings)).float()
    return torch.nn.functional.normalize(rows[None] if rows.dim() == 1 else rows, dim=-1)


def _picture(sample: Any) -> Decoded:
    stored = _stored(sample, "image")
    if stored is not None:
        return stored
    if isinstance(sample, Tensor):  # channels first
        pixels = sample.permute(1, 2, 0).numpy()
        scaled = pixels if pixels.dtype == np.uint8 else np.rint(pixels * 255).clip(0, 255).astype(np.uint8)
        return Image(np.ascontiguousarray(scaled))
    return Image(np.array(sample.convert("RGB")))  # a Pillow picture, which `datasets` has turned upright


def _sound(sample: Any) -> Decoded:
    stored = _stored(sample, "audio")
    if stored is not None:
        return stored
    if hasattr(sample, "get_all_samples"):  # a decoder of torchcodec
        decoded = sample.get_all_samples()
        waveform, rate = decoded.data.numpy(), int(decoded.sample_rate)
    else:
        waveform, rate = np.asarray(sample["array"]), int(sample["sampling_rate"])
    channels = np.atleast_2d(np.asarray(waveform, dtype=np.float32))
    return Audio(np.ascontiguousarray(channels.clip(-1, 1)), rate)


def _clip(sample: Any) -> Decoded:
    stored = _stored(sample, "video")
    if stored is not None:
        return stored
    if not hasattr(sample, "metadata"):
        raise InputError(
            f"mteb hands over a clip as {type(sample).__name__}; expected a decoder of torchcodec, or bytes"
        )
    frames = sample.get_frames_in_range(0, len(sample)).data  # t c h w
    return Video(np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy()), float(sample.metadata.average_fps))


def _stored(sample: Any, kind: str) -> Decoded | None:
    """A file that mteb has not decoded, read as any other."""
    if not isinstance(sample, Mapping) or not isinstance(sample.get("bytes"), bytes):
        return None
    data = sample["bytes"]
    return read_bytes(
        data, MODALITIES[kind].read, MODALITIES[kind].suffixes[0], f"mteb's {kind} ({kind_of(data[:12])})"
    )


_DECODED = {"image": _picture, "audio": _sound, "video": _clip}
