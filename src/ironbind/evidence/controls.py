"""Our rows and checks beside published controls: OWASP AISVS 1.0, chapter C11 (and 2.2.3), and MITRE ATLAS techniques.
"Not covered" is said as plainly as what is.
"""

from ironbind.core.markdown_tables import markdown_table

AISVS = (
    ("11.1.1", "alignment and safety training", "not covered", "embedding encoders generate nothing"),
    ("11.1.2", "an alignment test suite at every release", "not covered", "`ironbind gate` runs ours, on robustness"),
    (
        "11.1.3", "evaluated against known attacks relevant to the modality", "shown",
        "rows `whitebox` and `adaptive` of the audited modalities; C13 to C18 and C20 ask whether the attack was "
        "strong enough",
    ),
    (
        "11.1.4", "hardened against adversarial inputs", "shown where calibrated",
        "rows `adaptive` beside `clean` of a calibration; rows `replayed` are no proof",
    ),
    ("11.1.5", "harmful-content rate", "not covered", "no content is judged"),
    ("11.2.1–11.2.5", "membership inference and model inversion", "not covered", "no attack on training data is run"),
    ("11.3.1–11.3.4", "model extraction", "not covered", "nothing is queried as a service"),
    ("11.4.1, 2.2.3", "inputs pass through anomaly detection", "not covered", "no detector is delivered"),
    (
        "11.4.2, 11.4.3", "gating of anomalous inputs, poisoned feedback", "not covered",
        "a matter of the system around the encoder",
    ),
)  # fmt: skip
ATLAS = (
    ("AML.T0043.000", "Craft Adversarial Data: White-Box Optimization", "rows `whitebox`, `adaptive`"),
    (
        "AML.T0043.001", "Craft Adversarial Data: Black-Box Optimization",
        "attack `square` where it is chosen; check C17b compares it with the gradient attacks",
    ),
    ("AML.T0043.002", "Craft Adversarial Data: Black-Box Transfer", "rows `transfer`, `replayed`; check C17c"),
    ("AML.T0043.003", "Craft Adversarial Data: Manual Modification", "rows `corrupted` come near; no person is asked"),
    ("AML.T0043.004", "Craft Adversarial Data: Insert Backdoor Trigger", "not covered"),
    ("AML.T0015", "Evade AI Model", "zero-shot and retrieval rows under attack"),
    ("AML.T0041", "Physical Environment Access", "not covered: perturbations are digital"),
    ("AML.T0020", "Poison Training Data", "not covered; tasks `hub:` perturb one item of an index, not training data"),
    ("AML.T0018", "Manipulate AI Model", "not covered; `weights_sha256` says which weights were measured"),
    ("AML.T0024", "Exfiltration via AI Inference API (membership, inversion, extraction)", "not covered"),
)  # fmt: skip


def controls_markdown() -> str:
    """Both tables as Markdown."""
    aisvs = markdown_table(("control", "asks for", "here", "by what, or why not"), AISVS)
    atlas = markdown_table(("technique", "name", "rows and checks"), ATLAS)
    return f"OWASP AISVS 1.0, C11 Adversarial Robustness:\n\n{aisvs}\n\nMITRE ATLAS:\n\n{atlas}"
