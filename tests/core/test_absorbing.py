"""Results of several audits in one: nothing twice, nothing lost."""

from dataclasses import replace

from ironbind.core.results import CalibrationRecord, Check, GalleryItem, Prediction, Result, Row, ThreatModelRecord

CLEAN = Row("toy", "none", "image", "pixels", "zero_shot", "top1", "none", "none", "0", "clean", 90.0, 80.0, 95.0, 40)
ATTACKED = replace(CLEAN, attack="pgd", norm="linf", eps="4/255", threat_model="whitebox", value=10.0)
ADAPTIVE = replace(ATTACKED, calibration="l2", threat_model="adaptive", value=11.0)
KNOWN = ThreatModelRecord(
    "image",
    "pixels",
    "intensity",
    (0.0, 1.0),
    "linf",
    ("4/255",),
    (4 / 255,),
    ("4/255",),
    "zero_shot",
    "PGD()",
    "whitebox",
    (3, 8, 8),
)
TOLD = replace(KNOWN, knowledge="whitebox; replayed; adaptive")
HEAD = CalibrationRecord(
    "l2", "image", "pixels", "linear", "l2()", "pgd", "4/255", 272, 5000, 100, 30, 1.5, 0.5, 0.9, 0.1
)
ITEM = GalleryItem(
    "image-0", "image", "pixels", "0", "ant", "linf", "4/255", (Prediction("ant", 0.9),), (Prediction("bee", 0.8),)
)


def merged(*parts: Result) -> Result:
    whole = Result("whole")
    for one in parts:
        whole.absorb(one)
    return whole


def test_a_backbones_rows_are_said_once_in_their_order():
    whole = merged(
        Result("a", [CLEAN, ATTACKED]),
        Result("b", [CLEAN, ATTACKED, ADAPTIVE]),
        Result("c", [replace(CLEAN, modality="audio")]),
    )
    assert whole.rows == [CLEAN, ATTACKED, ADAPTIVE, replace(CLEAN, modality="audio")]
    assert whole.name == "whole"


def test_the_threat_model_that_tells_most_stays_in_place():
    other = replace(KNOWN, goal="retrieval")
    for parts in ([KNOWN, other, TOLD], [TOLD, other, KNOWN]):
        assert merged(*(Result("part", threat_models=[one]) for one in parts)).threat_models == [TOLD, other]
    # a second norm, attack or radius is another threat model, not a better account of the first
    more = [
        replace(KNOWN, norm="l2"),
        replace(KNOWN, attack="APGD()"),
        replace(KNOWN, eps=("8/255",), radii=(8 / 255,)),
        replace(KNOWN, space="raw"),
    ]
    assert merged(Result("a", threat_models=[KNOWN]), Result("b", threat_models=more)).threat_models == [KNOWN, *more]


def test_checks_calibrations_and_gallery_are_kept_in_order():
    check, again = Check("C1", "one", "pass", "measured"), Check("C2", "two", "warn", "measured")
    other = replace(ITEM, key="audio-0", modality="audio")
    first = Result("a", checks=[check], calibrations=[HEAD], gallery=[ITEM])
    second = Result("b", checks=[again], calibrations=[replace(HEAD, modality="audio")], gallery=[other])
    whole = merged(first, second)
    assert whole.checks == [check, again]
    assert whole.calibrations == [HEAD, replace(HEAD, modality="audio")]
    assert whole.gallery == [ITEM, other]
    assert Result.from_json(whole.to_json()) == whole


def test_seconds_add_up_and_facts_are_replaced():
    first = Result("a", record={"seed": 0, "wall_seconds": 1.25, "cpu_seconds": 2.5, "gradient_passes": 10})
    second = Result(
        "b", record={"seed": 0, "wall_seconds": 0.5, "cpu_seconds": 0.25, "gradient_passes": 30, "classes": 8}
    )
    whole = merged(first, second, Result("c"))
    assert whole.record == {"seed": 0, "wall_seconds": 1.75, "cpu_seconds": 2.75, "gradient_passes": 30, "classes": 8}


def test_the_part_is_left_as_it_was():
    part = Result("part", [CLEAN], [KNOWN], [HEAD], [Check("C1", "one", "pass", "measured")], [ITEM], {"seed": 0})
    before = part.to_json()
    merged(part, Result("b", [ATTACKED], [TOLD], [HEAD], [], [ITEM], {"seed": 1}))
    assert part.to_json() == before
