"""The composition root: functions that put encoders, data, attacks and objectives together.

CALIBRATIONS: name -> function() returning a CalibrationRecipe. AUDITS: name -> function(options) returning jobs. Adding one is one function
and one line here.
"""

from ironbind.recipes.calibrations import paper_v1, paper_v1_regularised
from ironbind.registry import Table

CALIBRATIONS = Table(
    "calibration",
    {
        "center_ce": "ironbind.recipes.calibrations:center_ce",
        "l2": "ironbind.recipes.calibrations:l2",
        "infonce": "ironbind.recipes.calibrations:infonce",
        "center_ce_regularised": "ironbind.recipes.calibrations:center_ce_regularised",
        "l2_regularised": "ironbind.recipes.calibrations:l2_regularised",
        "infonce_regularised": "ironbind.recipes.calibrations:infonce_regularised",
    },
)

AUDITS = Table(
    "recipe",
    {
        "world": "ironbind.recipes.audits:world",
        "folder": "ironbind.recipes.audits:folder",
        "paper_cell": "ironbind.recipes.audits:paper_cell",
    },
)

__all__ = ["AUDITS", "CALIBRATIONS", "paper_v1", "paper_v1_regularised"]
