"""Time and memory of loading an encoder and of one white-box gradient step on one modality: `encoder_step.py
imagebind-huge image --weights FILE`.

One step = embed, a cosine loss, the gradient with respect to the raw input, a sign step. Prints one JSON line. Peaks
are the process's peak resident memory less what the imports took; memory-mapped weights count once they are read.
Random weights cost the same as real ones.
"""

import argparse
import json
import resource
import time

import torch

from ironbind.encoders import load_encoder


def resident_peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # GB: Linux counts in kB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder")
    parser.add_argument("modality")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--space")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--checkpointing", action="store_true")
    asked = parser.parse_args()

    imports = resident_peak()
    started = time.perf_counter()
    encoder = load_encoder(
        asked.encoder,
        weights=asked.weights,
        modalities=[asked.modality],
        dtype=getattr(torch, asked.dtype),
        device=asked.device,
        checkpointing=asked.checkpointing,
    )
    load_seconds, load_peak = time.perf_counter() - started, resident_peak() - imports
    spec = encoder.inputs[asked.modality]
    space = spec.space_named(asked.space or spec.space.name)
    x = torch.rand(asked.batch, *spec.shape_in(space.name), generator=torch.Generator().manual_seed(0)).to(asked.device)
    with torch.no_grad():
        clean = encoder.embed(asked.modality, x, space=space.name)
    clean_peak = resident_peak() - imports
    seconds, cpu_seconds = [], []
    for _ in range(asked.steps):
        started, worked = time.perf_counter(), time.process_time()
        leaf = x.requires_grad_()
        loss = (encoder.embed(asked.modality, leaf, space=space.name) * clean).sum()
        (gradient,) = torch.autograd.grad(loss, leaf)
        x = (leaf.detach() - 1e-3 * gradient.sign()).detach()
        seconds.append(round(time.perf_counter() - started, 2))
        cpu_seconds.append(
            round(time.process_time() - worked, 2)
        )  # of all threads; tells a busy machine from a slow one
    weights = sum(one.numel() * one.element_size() for one in encoder.model.parameters()) / 1e9
    print(
        json.dumps(
            {
                **vars(asked),
                "threads": torch.get_num_threads(),
                "weights_gb": round(weights, 2),
                "load_seconds": round(load_seconds, 1),
                "load_peak_gb": round(load_peak, 2),
                "clean_pass_peak_gb": round(clean_peak, 2),
                "step_seconds": seconds,
                "step_cpu_seconds": cpu_seconds,
                "step_peak_gb": round(resident_peak() - imports, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
