"""OBJECTIVES and HEADS: what calibration minimises, and what it trains. Adding one is one function or class and one line here."""

from ironbind.registry import Table

OBJECTIVES = Table(
    "objective",
    {
        "center_ce": "ironbind.calibrate.objectives:center_cross_entropy",
        "l2": "ironbind.calibrate.objectives:l2",
        "infonce": "ironbind.calibrate.objectives:infonce",
        "consistency": "ironbind.calibrate.objectives:modality_consistency",
    },
)

HEADS = Table(
    "head",
    {
        "linear": "ironbind.calibrate.heads:IdentityLinear",
        "mlp": "ironbind.calibrate.heads:ResidualMLP",
    },
)
