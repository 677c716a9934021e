"""A warning for Python code that gives one `out` to several audits: the table of the earlier one is replaced."""

import warnings
from pathlib import Path

from ironbind.core.errors import InputError
from ironbind.core.results import Result, lost_rows


def warn_of_lost_rows(out: Path, result: Result) -> None:
    """Warns where `out` holds numbers that `result`, about to be written there, does not. Verdicts stay in the store.

    An audit of a calibrated encoder holds the numbers of its backbone too, so that auditing first the one, then the
    other loses nothing.
    """
    try:
        lost = lost_rows(Result.read(out), result)
    except InputError:
        return  # there is no table, or none that can be read
    if lost:
        row = lost[0]
        warnings.warn(
            f"{out}: the table of an earlier audit is replaced; {len(lost)} of its rows are not in the new one, as "
            f"{row.encoder}, {row.calibration}, {row.modality}, {row.task} {row.metric} at {row.eps}; expected an out= "
            "of its own for every audit",
            stacklevel=2,
        )
