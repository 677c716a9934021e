"""OBJECTIVES and HEADS: what calibration minimises, and what it trains. Adding one is one function or class and one
line here.
"""

from ironbind.core.registry import Table

OBJECTIVES = Table(
    "objective",
    {
        "center_ce": "ironbind.calibration.objectives:center_cross_entropy",
        "l2": "ironbind.calibration.objectives:l2",
        "infonce": "ironbind.calibration.objectives:infonce",
        "consistency": "ironbind.calibration.objectives:modality_consistency",
        "clean_ce": "ironbind.calibration.objectives:clean_cross_entropy",
        "distillation": "ironbind.calibration.objectives:distillation",
        "clean_distillation": "ironbind.calibration.objectives:clean_distillation",
        "agreement": "ironbind.calibration.objectives:agreement",
    },
)

HEADS = Table(
    "head",
    {
        "linear": "ironbind.calibration.heads:IdentityLinear",
        "mlp": "ironbind.calibration.heads:ResidualMLP",
    },
)
