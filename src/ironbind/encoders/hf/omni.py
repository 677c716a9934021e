"""PE-AV and EmbeddingGemma 2 of `transformers`: the families whose library functions need more than a call.

Axis letters: b = batch, t = frames, c = colours, h, w = rows and columns, n = waveform samples, p = patches, l =
tokens, d = embedding.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.encoders.from_callable import Function
from ironbind.encoders.hf.inputs import Mel, Pixels, patches, waveform_spec
from ironbind.encoders.hf.parts import Ends, Parts, text_function
from ironbind.types import InputError, InputSpec

PE_FRAMES, PE_SECONDS = 16, 10.0
GEMMA_FRAMES, GEMMA_SECONDS = 8, 10.0
GEMMA_FRAME_TOKENS = 70  # soft tokens of one video frame, as the library's video processor has it
GEMMA_VIDEO_TOKEN = "<|video|>"


# ----------------------------------------------------------------------------------------------------------- PE-AV


def _audible(encoder: Any) -> None:
    """Lets gradients through the codec at the entrance of PE-AV's audio encoder, which the library runs under
    `no_grad`.

    Without this an attack on the waveform sees a gradient of exactly nothing and the model looks robust.
    """
    embedder = encoder.embedder

    def forward(input_values: Tensor, padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        codes = embedder.bottleneck(embedder.dac_encoder(input_values)).transpose(1, 2)
        hop = embedder.config.dac_config.hop_length
        return embedder.data_proj(codes), None if padding_mask is None else padding_mask[:, ::hop]

    embedder.forward = forward


def _pe_audio(parts: Parts, model: Any) -> tuple[InputSpec, Function]:
    _audible(model.audio_encoder)
    hop = model.audio_encoder.config.dac_config.hop_length
    samples = round((parts.seconds or PE_SECONDS) * parts.audio.sampling_rate / hop) * hop
    spec = waveform_spec(parts.audio.sampling_rate, samples, repeat=False)
    return spec, lambda x: model.audio_head(model.audio_encoder(input_values=x).pooler_output)


def _pe_video(parts: Parts, model: Any) -> tuple[InputSpec, Function]:
    pixels = Pixels.read(parts.video, parts.size)
    spec = pixels.video_spec(parts.frames or PE_FRAMES)
    return spec, lambda x: model.video_head(
        model.video_encoder(pixel_values_videos=pixels.normalise(x).contiguous()).pooler_output
    )


def _pe_text(parts: Parts, model: Any, head: Any) -> Callable[[list[str]], Tensor]:
    """The first token of the last layer, through one of the text heads, as in the library's joint `forward`."""

    def encode(input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Tensor:
        output = model.text_model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
        return head(output.hidden_states[-1][:, 0])

    return text_function(parts, encode, padding=True)


def pe_audio(parts: Parts) -> Ends:
    """PE-AV's audio half (`PeAudioModel`): audio at 48 kHz, text. `seconds` (10) sets the length; a shorter file ends
    in silence.
    """
    spec, audio = _pe_audio(parts, parts.model)
    return Ends({"audio": spec}, {"audio": audio}, _pe_text(parts, parts.model, parts.model.text_audio_head))


def pe_video(parts: Parts) -> Ends:
    """PE-AV's video half (`PeVideoModel`): video of `frames` (16) frames, text. Its picture encoder needs the `timm`
    library.
    """
    spec, video = _pe_video(parts, parts.model)
    return Ends({"video": spec}, {"video": video}, _pe_text(parts, parts.model, parts.model.text_video_head))


def pe_audio_video(parts: Parts) -> Ends:
    """PE-AV (facebook/pe-av-large): audio, video, text.

    A text has an embedding for audio, one for video and one for both together; an Encoder has one. `text_head` chooses:
    "audio", "video" or "audio_video" (the default). Audit a modality with its own head.
    """
    model = parts.model
    heads = {
        "audio": model.audio_model.text_audio_head,
        "video": model.video_model.text_video_head,
        "audio_video": model.text_audio_video_head,
    }
    chosen = parts.text_head or "audio_video"
    if chosen not in heads:
        raise InputError(f"text_head {chosen!r} does not exist for PE-AV; expected one of {', '.join(heads)}")
    (audio_spec, audio), (video_spec, video) = _pe_audio(parts, model.audio_model), _pe_video(parts, model.video_model)
    return Ends(
        {"audio": audio_spec, "video": video_spec},
        {"audio": audio, "video": video},
        _pe_text(parts, model, heads[chosen]),
    )


# ------------------------------------------------------------------------------------------------ EmbeddingGemma 2


def embedding_gemma2(parts: Parts) -> Ends:
    """EmbeddingGemma 2 (google/embeddinggemma-2): image, video, audio, text; the mean over all tokens, as in its
    sentence-transformers modules.

    Pictures are resized to `size` (default: the largest square within the configured number of soft tokens; the
    processor keeps aspect ratios), video to `frames` (8) of 70 soft tokens each, audio to `seconds` (10). `prompt`
    wraps texts ("task: search result | query: {}").
    """
    config, tokenizer = parts.model.config, parts.tokenizer
    if tokenizer is None:
        raise InputError(
            "tokenizer=None: EmbeddingGemma 2 needs its tokenizer for every modality (pictures and sounds stand in a"
            " prompt)"
        )
    tokenizer.add_special_tokens({"additional_special_tokens": [GEMMA_VIDEO_TOKEN]})  # as the library's processor does
    inputs: dict[str, InputSpec] = {}
    functions: dict[str, Function] = {}
    if config.vision_config is not None:
        picture = _Pictures(parts, parts.image, parts.size)
        frame = _Pictures(
            parts,
            {**parts.image, **parts.video, "max_soft_tokens": parts.video.get("max_soft_tokens", GEMMA_FRAME_TOKENS)},
            None,
        )
        frames = parts.frames or GEMMA_FRAMES
        inputs |= {"image": picture.pixels.image_spec(), "video": frame.pixels.video_spec(frames)}
        one_picture = tokenizer.boi_token + tokenizer.image_token * picture.tokens + tokenizer.eoi_token
        one_frame = tokenizer.boi_token + GEMMA_VIDEO_TOKEN * frame.tokens + tokenizer.eoi_token

        def image(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
            cut, places = picture(x)
            return _mean_embedding(parts, one_picture, len(x), pixel_values=cut, image_position_ids=places)

        def video(x: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b d"]:
            cut, places = frame(x.flatten(0, 1))
            count = torch.full((len(x),), x.shape[1], device=x.device)
            prompt = one_frame * x.shape[1]
            return _mean_embedding(
                parts, prompt, len(x), pixel_values_videos=cut, video_position_ids=places, num_frames_per_video=count
            )

        functions |= {"image": image, "video": video}
    if config.audio_config is not None:
        mel = Mel.gemma(parts.audio)
        # whole multiples of 128 samples, to which the processor pads, so that no frame is masked
        samples = round((parts.seconds or GEMMA_SECONDS) * parts.audio.sampling_rate / 128) * 128

        def audio(x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b d"]:
            spectrogram = mel(x)
            tokens = (spectrogram.shape[1] + 3) // 4  # two convolutions of stride 2, each rounding up
            prompt = tokenizer.boa_token + tokenizer.audio_token * tokens + tokenizer.eoa_token
            whole = torch.ones(spectrogram.shape[:2], dtype=torch.bool, device=x.device)
            return _mean_embedding(parts, prompt, len(x), input_features=spectrogram, input_features_mask=whole)

        inputs["audio"] = waveform_spec(parts.audio.sampling_rate, samples, repeat=False)
        functions["audio"] = audio

    def encode(input_ids: Tensor, attention_mask: Tensor, **_: Any) -> Tensor:
        return _mean(parts.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state, attention_mask)

    return Ends(inputs, functions, text_function(parts, encode, padding=True))


def _mean(tokens: Float[Tensor, "b l d"], mask: Int[Tensor, "b l"]) -> Float[Tensor, "b d"]:
    return (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def _mean_embedding(parts: Parts, prompt: str, batch: int, **features: Tensor) -> Float[Tensor, "b d"]:
    tokens = parts.tokenizer([prompt] * batch, return_tensors="pt").to(parts.model.device)
    output = parts.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **features)
    return _mean(output.last_hidden_state, tokens["attention_mask"])


class _Pictures:
    """Pictures of one size as Gemma 4's vision tower takes them: patches and their (column, row) places, filled up to
    the configured number.
    """

    def __init__(self, parts: Parts, config: Any, size: tuple[int, int] | None) -> None:
        self.side, pool, most = (
            int(config["patch_size"]),
            int(config["pooling_kernel_size"]),
            int(config["max_soft_tokens"]),
        )
        self.most = most * pool**2
        step = self.side * pool
        square = int(np.sqrt(self.most) * self.side) // step * step
        size = size or (square, square)
        self.tokens = (size[0] // step) * (size[1] // step)
        if size[0] % step or size[1] % step or not 0 < self.tokens <= most:
            raise InputError(
                f"size {size} does not fit; expected multiples of {step} with at most {most} blocks of {step} x {step}"
            )
        self.pixels = Pixels.read(config, size)

    def __call__(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b p d"], Int[Tensor, "b p 2"]]:
        rows, columns = x.shape[-2] // self.side, x.shape[-1] // self.side
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        places = torch.stack([column, row], dim=-1).reshape(1, -1, 2).to(x.device)
        spare = self.most - rows * columns
        cut = F.pad(patches(self.pixels.normalise(x), self.side), (0, 0, 0, spare))
        return cut, F.pad(places, (0, 0, 0, spare), value=-1).expand(len(x), -1, -1)
