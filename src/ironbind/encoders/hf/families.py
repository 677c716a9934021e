"""CLIP, SigLIP, X-CLIP and CLAP of `transformers`: the families whose library functions give embeddings as they are."""

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.hf.inputs import Mel, Pixels, patches, waveform_spec
from ironbind.encoders.hf.parts import Ends, Parts, text_function, vector


def clip(parts: Parts) -> Ends:
    """CLIP (arXiv 2103.00020) and MetaCLIP 2: image, text."""
    pixels, model = Pixels.read(parts.image), parts.model
    text = text_function(
        parts, model.get_text_features, padding=True, max_length=model.config.text_config.max_position_embeddings
    )
    return Ends(
        {"image": pixels.image_spec()},
        {"image": lambda x: vector(model.get_image_features(pixel_values=pixels.normalise(x)))},
        text,
    )


def siglip(parts: Parts) -> Ends:
    """SigLIP (arXiv 2303.15343) and SigLIP 2 at a fixed resolution: image, text. Texts are padded to full length, as in
    training.
    """
    ends = clip(parts)
    length = parts.model.config.text_config.max_position_embeddings
    text = text_function(
        parts,
        lambda input_ids, **_: parts.model.get_text_features(input_ids=input_ids),
        padding="max_length",
        max_length=length,
    )
    return Ends(ends.inputs, ends.functions, text)


def siglip2(parts: Parts) -> Ends:
    """SigLIP 2 NaFlex (arXiv 2502.14786): image, text.

    The processor keeps every picture's aspect ratio; an encoder here has one shape, so pictures are resized to `size`
    (default: the square with the configured number of patches), which is what the processor does to square ones.
    """
    model, side = parts.model, int(parts.image["patch_size"])
    square = int(int(parts.image["max_num_patches"]) ** 0.5) * side
    pixels = Pixels.read(parts.image, parts.size or (square, square))
    rows, columns = pixels.size[0] // side, pixels.size[1] // side

    def image(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        cut = patches(pixels.normalise(x), side)
        whole = torch.ones(cut.shape[:2], dtype=torch.int64, device=x.device)
        shape = torch.tensor([[rows, columns]] * len(x), device=x.device)
        return vector(model.get_image_features(pixel_values=cut, pixel_attention_mask=whole, spatial_shapes=shape))

    length = min(64, model.config.text_config.max_position_embeddings)
    text = text_function(
        parts,
        lambda input_ids, **_: model.get_text_features(input_ids=input_ids),
        padding="max_length",
        max_length=length,
    )
    return Ends({"image": pixels.image_spec()}, {"image": image}, text)


def xclip(parts: Parts) -> Ends:
    """X-CLIP (arXiv 2208.02816): video, text.

    The text embedding is the one before the video-specific prompt is added: a class list has no video. The model's own
    logits add it.
    """
    model, frames = parts.model, parts.model.config.vision_config.num_frames
    pixels = Pixels.read(parts.image or parts.video)
    text = text_function(
        parts, model.get_text_features, padding=True, max_length=model.config.text_config.max_position_embeddings
    )
    return Ends(
        {"video": pixels.video_spec(frames)},
        {"video": lambda x: vector(model.get_video_features(pixel_values=pixels.normalise(x)))},
        text,
    )


def clap(parts: Parts) -> Ends:
    """CLAP (arXiv 2211.06687): audio, text. Ten seconds (or as configured); the library cuts longer files at random,
    here the middle is taken.

    Models with feature fusion get the same spectrogram four times and `is_longer` False; the library's processor sets
    it for one file of each batch at random when none is longer, so that its embeddings depend on chance and on the
    batch.
    """
    model, mel = parts.model, Mel.clap(parts.audio)
    copies = 4 if parts.audio.truncation == "fusion" else 1

    def audio(x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b d"]:
        spectrogram = mel(x)[:, None].expand(-1, copies, -1, -1)
        longer = torch.zeros(x.shape[0], 1, dtype=torch.bool, device=x.device)
        return vector(model.get_audio_features(input_features=spectrogram, is_longer=longer))

    spec = waveform_spec(
        parts.audio.sampling_rate, parts.audio.nb_max_samples, repeat=parts.audio.padding == "repeatpad"
    )
    return Ends({"audio": spec}, {"audio": audio}, text_function(parts, model.get_text_features, padding=True))
