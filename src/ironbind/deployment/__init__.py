"""Trained parts folded into ordinary weights, and written in the forms that other software loads.

FORMATS: name -> function(folded, live, out) that writes a form and reads it back.
"""

from ironbind.core.registry import Table

FORMATS = Table(
    "export format",
    {
        "official": "ironbind.deployment.official_weights_file:write",
        "peft": "ironbind.deployment.peft_adapter:write",
        "onnx": "ironbind.deployment.onnx_graph:write",
        "torch": "ironbind.deployment.torch_program:write",
    },
)
