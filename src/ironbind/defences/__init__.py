"""DEFENCES: name -> a test-time defence with its default knobs. `defend` puts one around an encoder, which stays an
encoder. Adding a defence is one file and one line here.
"""

from ironbind.core.registry import Table

DEFENCES = Table(
    "defence",
    {
        "ttc": "ironbind.defences.counterattack:Counterattack",
        "noise_gate": "ironbind.defences.noise_gate:NoiseGate",
        "anchors": "ironbind.defences.anchors:Anchors",
        "smoothing": "ironbind.defences.gaussian_smoothing:Smoothing",
        "quantisation": "ironbind.defences.quantisation:Quantisation",
        "recompression": "ironbind.defences.recompression:Recompression",
        "prompt_consensus": "ironbind.defences.prompt_consensus:PromptConsensus",
    },
)

__all__ = ["DEFENCES"]
