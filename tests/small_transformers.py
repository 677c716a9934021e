"""Models of `transformers` at sizes at which they are built in a blink, with processors and a tokenizer; without
knowledge.
"""

import pytest
import torch

transformers = pytest.importorskip("transformers")

TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 120}
TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer():
    """Words w0 .. w105 and the special tokens of every family, in a vocabulary of 117."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    specials = ["<img>", "<|video|>", "<aud>", "<boi>", "<eoi>", "<boa>", "<eoa>"]
    words = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"w{i}" for i in range(106)), *specials]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", special_tokens=[("<bos>", 2), ("<eos>", 1)]
    )
    names = {
        "image_token": "<img>",
        "boi_token": "<boi>",
        "eoi_token": "<eoi>",
        "audio_token": "<aud>",
        "boa_token": "<boa>",
        "eoa_token": "<eoa>",
    }
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        extra_special_tokens=names,
    )


def built(kind, config):
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():
        for value in (
            model.parameters()
        ):  # the library's initial values leave some towers with next to no dependence on their input
            if value.ndim > 1:
                value.normal_(std=value[0].numel() ** -0.5)
    return model.eval()


def clip_model():
    text = {**TEXT, "max_position_embeddings": 16, "eos_token_id": 1, "bos_token_id": 2}
    config = transformers.CLIPConfig(
        text_config=text, vision_config={**TOWER, "image_size": 32, "patch_size": 8}, projection_dim=24
    )
    return built(transformers.CLIPModel, config)


def clip_processor():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def pe_configs():
    text = {**TEXT, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 1, "cls_token_id": 2, "sep_token_id": 1}
    dac = transformers.DacConfig(
        encoder_hidden_size=8, downsampling_ratios=[2, 4], hidden_size=32, codebook_dim=16, n_codebooks=2
    )
    width = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 16,
    }
    vision = transformers.ViTConfig(**TOWER, image_size=32, patch_size=8, num_labels=24)
    return (
        transformers.ModernBertConfig(**text),
        transformers.PeAudioEncoderConfig(dac_config=dac, **width),
        transformers.PeVideoEncoderConfig(vision_config=vision, **width),
        width,
    )


def pe_sound():
    return transformers.PeAudioFeatureExtractor(hop_length=8)


PE_PIXELS = {"size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 2}


def gemma_model():
    from transformers import EmbeddingGemma2Config, EmbeddingGemma2Model

    text = {
        **TEXT,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "embedding_dim": 24,
    }
    vision = {
        **TOWER,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "patch_size": 4,
        "pooling_kernel_size": 2,
        "position_embedding_size": 64,
    }
    config = EmbeddingGemma2Config(
        text_config={**text, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
        vision_config={"model_type": "gemma4_vision", **vision},
        audio_config={
            "model_type": "gemma4_audio",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "output_proj_dims": 32,
            "subsampling_conv_channels": [128, 8],
        },
        image_token_id=110,
        video_token_id=111,
        audio_token_id=112,
        boi_token_id=113,
        eoi_token_id=114,
        boa_token_id=115,
        eoa_token_index=116,
    )
    return built(EmbeddingGemma2Model, config)


def gemma_parts():
    from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    return Gemma4ImageProcessorPil(
        patch_size=4, pooling_kernel_size=2, max_soft_tokens=70
    ), Gemma4AudioFeatureExtractor()


def clap_model(fusion):
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [1, 2],
        "window_size": 4,
        "projection_dim": 32,
        "enable_fusion": fusion,
    }
    text = {**TEXT, "max_position_embeddings": 40, "projection_dim": 32, "pad_token_id": 0}
    return built(
        transformers.ClapModel, transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=32)
    )


def clap_sound(fusion):
    return transformers.ClapFeatureExtractor(
        feature_size=16, sampling_rate=8000, hop_length=80, max_length_s=1, fft_window_size=256, frequency_max=4000,
        truncation="fusion" if fusion else "rand_trunc",
    )  # fmt: skip


def gemma_keys():
    image, audio = gemma_parts()
    return {"image": image, "audio": audio, "seconds": 1.024, "frames": 2}
