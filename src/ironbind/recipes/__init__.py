"""The composition root: functions that put encoders, data, attacks and objectives together.

CALIBRATIONS: name -> function() returning a CalibrationRecipe. AUDITS: name -> function(request) returning jobs. Adding
one is one function and one line here. The recipes of both tables are attributes too: `ironbind.recipes.world`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from ironbind.core.registry import Table
from ironbind.core.user_code import is_user_code
from ironbind.recipes.calibrations import calmars, hardened, paper_v1, paper_v1_regularised
from ironbind.recipes.paper.grid import CELL_NAMES

CALIBRATIONS = Table(
    "calibration",
    {
        "center_ce": "ironbind.recipes.calibrations:center_ce",
        "l2": "ironbind.recipes.calibrations:l2",
        "infonce": "ironbind.recipes.calibrations:infonce",
        "center_ce_regularised": "ironbind.recipes.calibrations:center_ce_regularised",
        "l2_regularised": "ironbind.recipes.calibrations:l2_regularised",
        "infonce_regularised": "ironbind.recipes.calibrations:infonce_regularised",
        "hardened": "ironbind.recipes.calibrations:hardened",
        "hardened_head": "ironbind.recipes.calibrations:hardened_head",
        "hardened_foldable": "ironbind.recipes.calibrations:hardened_foldable",
        "hardened_captions": "ironbind.recipes.calibrations:hardened_captions",
        "full": "ironbind.recipes.calibrations:full",
        "tecoa": "ironbind.recipes.calibrations:tecoa",
        "tecoa_head": "ironbind.recipes.calibrations:tecoa_head",
        "fare": "ironbind.recipes.calibrations:fare",
        "fare_head": "ironbind.recipes.calibrations:fare_head",
        "trades": "ironbind.recipes.calibrations:trades",
        "trades_head": "ironbind.recipes.calibrations:trades_head",
        "calm": "ironbind.recipes.calibrations:calm",
        "calm_head": "ironbind.recipes.calibrations:calm_head",
        "mars": "ironbind.recipes.calibrations:mars",
        "mars_head": "ironbind.recipes.calibrations:mars_head",
        "calmars": "ironbind.recipes.calibrations:calmars",
        "calmars_head": "ironbind.recipes.calibrations:calmars_head",
    },
)

AUDITS = Table(
    "recipe",
    {
        "world": "ironbind.recipes.world_and_folder:world",
        "folder": "ironbind.recipes.world_and_folder:folder",
        "data": "ironbind.recipes.any_layout:data",
        "illusion": "ironbind.recipes.illusions_and_hubs:illusion",
        "hub": "ironbind.recipes.illusions_and_hubs:hub",
        "undetected_hub": "ironbind.recipes.illusions_and_hubs:undetected_hub",
        "curve": "ironbind.recipes.accuracy_curves:curve",
        "corruptions": "ironbind.recipes.other_threats:corruptions",
        "universal": "ironbind.recipes.other_threats:universal",
        "transfer": "ironbind.recipes.other_threats:transfer",
        "defences": "ironbind.recipes.test_time_defences:defences",
        **{name: f"ironbind.recipes.paper.cells:{name}" for name in CELL_NAMES},
    },
)

__all__ = ["AUDITS", "CALIBRATIONS", "calmars", "hardened", "paper_v1", "paper_v1_regularised"]


def audit_named(name: str) -> Callable[..., Any]:
    """The function from a request to jobs behind a name of the command line: of AUDITS, "mteb/TASK", or a function of
    the user's own. Raises UnknownName, and InputError for a function that cannot be imported.
    """
    if is_user_code(name):
        from ironbind.recipes.user_jobs import user_jobs

        return partial(user_jobs, name)
    if name.startswith("mteb/"):
        from ironbind.recipes.benchmark_task import PREFIX, mteb_task

        return partial(mteb_task, name=name.removeprefix(PREFIX))
    function: Callable[..., Any] = AUDITS[name]
    return function


def __getattr__(name: str) -> Any:
    """A recipe by name, imported at first access."""
    for table in (AUDITS, CALIBRATIONS):
        if name in table:
            return table[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
