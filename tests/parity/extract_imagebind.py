"""Cuts the compact golden files of ImageBind and UniBind out of a folder with the official code's full outputs:
`extract_imagebind.py FOLDER`.

The full outputs were made with the authors' forward code (facebookresearch/ImageBind 53680b02, QC-LY/UniBind 7b22a779,
torch 2.13 CPU, float32, eval mode) at full size, on weights rebuilt from names (`checkpoint.rule_weights`) and inputs
randn or rand(shape, seed 1234); preprocessing with the authors' loaders (torchvision 0.28, torchaudio 2.11,
pytorchvideo at the pinned commit). Farthest points and neighbours: emulated on a CPU from the semantics of the CUDA
sources. Kept here: embeddings, and enough of the preprocessing.
"""

import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
IMAGEBIND = ("image", "image280", "video", "audio", "depth", "thermal", "imu", "text")
UNIBIND = ("image", "event", "video", "audio", "thermal", "point", "text")
RECORDINGS = ("mono16k_1p2s", "mono16k_5s", "mono48k_2p5s")
START = 4000  # samples of the stereo recording: enough for the head of its resampled waveform


def main(folder: Path) -> None:
    full = load_file(folder / "imagebind_golden.safetensors")
    kept = {f"imagebind/{one}": full[f"{one}.embedding"] for one in IMAGEBIND} | {"text_ids": full["text.input"]}
    full = load_file(folder / "unibind_golden.safetensors")
    kept |= {f"unibind/{one}": full[f"{one}.embedding"] for one in UNIBIND}
    kept |= {
        name.replace(".", "/"): full[name]
        for name in full
        if name.startswith("zeroshot.") or "group" in name and "idx_sorted" in name
    }
    kept |= {f"points/{name}": value for name, value in load_file(folder / "unibind_point_ops.safetensors").items()}
    save_file(kept, HERE / "imagebind_golden.safetensors")

    source = folder / "imagebind_preprocessing.safetensors"
    full = load_file(source)
    with safe_open(source, framework="pt") as file:
        texts = file.metadata()["texts"]
    kept = {name: full[name] for name in ("text.imagebind_ids", "text.unibind_ids", "video_raw.input_small_u8")}
    kept["video_raw.output_sub16"] = full["video_raw.output_sub8"][..., ::2, ::2].contiguous()
    for name in ("landscape", "portrait", "small"):
        output = full[f"image_{name}.output"]
        kept[f"image_{name}.input_u8"], kept[f"image_{name}.output_sub8"] = (
            full[f"image_{name}.input_u8"],
            output[:, :: output.shape[1] // 28, :: output.shape[1] // 28],
        )
    kept["thermal_landscape.output_sub4"] = full["thermal_landscape.output"][:, ::4, ::4]
    for name in RECORDINGS:
        kept[f"audio_{name}.input_i16"], kept[f"audio_{name}.output_sub3"] = (
            full[f"audio_{name}.input_i16"],
            full[f"audio_{name}.output"][..., ::3],
        )
    kept["audio_stereo44k.input_i16"] = full["audio_stereo44k_7p3s.input_i16"][:START]
    kept["audio_stereo44k.resampled_head"] = full["audio_stereo44k_7p3s.resampled_head"]
    save_file(
        {name: value.contiguous() for name, value in kept.items()},
        HERE / "imagebind_preprocessing.safetensors",
        metadata={"texts": texts},
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
