"""Cuts the compact golden file of this folder out of a folder with the official code's full outputs:
`extract_languagebind.py FOLDER`.

The full outputs were made with the authors' forward code (PKU-YuanGroup/LanguageBind 7070c53, transformers 4.30.2, peft
0.4.0, torch 2.13 CPU, float32, eval mode) at full size, on weights rebuilt from names (`checkpoint.rule_tensor`) and
inputs randn(2, ..., seed 1234); preprocessing with the authors' processing modules (torchvision 0.29, torchaudio 2.11,
pytorchvideo 0.1.5). Kept here: the embeddings, and enough of the preprocessing.
"""

import sys
from pathlib import Path

import numpy as np
import PIL.Image
import soundfile
import torch
from safetensors.torch import load_file, save_file

TOWERS = ("image", "video", "video_ft", "audio", "audio_ft", "depth", "thermal", "text")


def main(folder: Path) -> None:
    full = load_file(folder / "languagebind_golden.safetensors")
    kept = {f"{tower}/embedding": full[f"{tower}/embedding"] for tower in TOWERS} | {
        "text/input_ids": full["text/input_ids"]
    }
    kept |= {"image_text/logits_per_image": full["image_text/logits_per_image"]}

    inputs, processed = folder / "languagebind_preproc", load_file(folder / "languagebind_golden_preproc.safetensors")
    kept["image/pixels"] = torch.from_numpy(np.array(PIL.Image.open(inputs / "image_300x200.png")))
    kept["depth/millimetres"] = torch.from_numpy(
        np.array(PIL.Image.open(inputs / "depth_240x180_16bit_mm.png")).astype(np.int32)
    )
    for name in ("image/antialias_False", "image/antialias_True", "depth/antialias_False", "depth/antialias_True"):
        kept[name] = processed[name][:, ::4, ::4].contiguous()
    kept["video/rolled"] = processed["video/synthetic_frames_roll7_sub4"]
    second, rate = soundfile.read(inputs / "sweep_7.3s_44100_stereo.wav", dtype="int16", frames=44_100, always_2d=True)
    assert rate == 44_100
    kept["audio/sweep"], kept["audio/sweep_fbank"] = (
        torch.from_numpy(second),
        processed["audio/sweep_fbank_raw"][:96].contiguous(),
    )
    save_file(kept, Path(__file__).with_name("languagebind_golden.safetensors"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
