"""ironbind audits and hardens unified multi-modal encoders against adversarial perturbations, in six modalities.

The whole of it in five lines:

    import ironbind as ib

    encoder = ib.load_encoder("tiny")
    task = ib.zero_shot(encoder, ib.load_dataset("world"), modality="audio")
    before = ib.audit(task, attack=ib.attacks.PGD(steps=20), budget=ib.Linf("4/255"))
    hard = ib.calibrate(task, ib.recipes.paper_v1("infonce"))  # an encoder again
    after = ib.audit(task.on(hard), attack=ib.attacks.PGD(steps=20), budget=ib.Linf("4/255"))  # replayed and adaptive
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Imported when first asked for: `import ironbind` and `ironbind --help` must not wait for torch.
_PUBLIC = {
    "AuditRequest": "ironbind.recipes.request:AuditRequest",
    "ClassCenters": "ironbind.types:ClassCenters",
    "CenterSpec": "ironbind.runs.job:CenterSpec",
    "CheckSpec": "ironbind.runs.job:CheckSpec",
    "CertificateSpec": "ironbind.runs.job:CertificateSpec",
    "DEFENCES": "ironbind.defences:DEFENCES",
    "DataSpec": "ironbind.runs.data_spec:DataSpec",
    "EncoderSpec": "ironbind.runs.encoder_spec:EncoderSpec",
    "ExtraTask": "ironbind.runs.extra_tasks:ExtraTask",
    "HubSpec": "ironbind.runs.extra_tasks:HubSpec",
    "InputError": "ironbind.core.errors:InputError",
    "Job": "ironbind.runs.job:Job",
    "TrainingSpec": "ironbind.runs.job:TrainingSpec",
    "EventShare": "ironbind.types:EventShare",
    "L1": "ironbind.types:L1",
    "L2": "ironbind.types:L2",
    "Linf": "ironbind.types:Linf",
    "PointwiseL2": "ironbind.types:PointwiseL2",
    "Result": "ironbind.core.results:Result",
    "SNR": "ironbind.types:SNR",
    "Smoothing": "ironbind.certification.smoothing:Smoothing",
    "VerdictStore": "ironbind.evaluate.store.verdict_store:VerdictStore",
    "attacks": "ironbind.attacks",
    "audit": "ironbind.api:audit",
    "audit_corrupted": "ironbind.api:audit_corrupted",
    "calibrate": "ironbind.calibration.calibrate:calibrate",
    "certify": "ironbind.api:certify",
    "check_items": "ironbind.index_guard.index_scan:check_items",
    "corruptions_for": "ironbind.modalities.corruptions:corruptions_for",
    "curve": "ironbind.api:curve",
    "defend": "ironbind.defences.defended_encoder:defend",
    "export": "ironbind.data.export_files:export",
    "export_encoder": "ironbind.deployment.export_encoder:export_encoder",
    "from_callable": "ironbind.encoders.from_callable:from_callable",
    "from_pretrained": "ironbind.runs.pretrained:from_pretrained",
    "linear_classifier": "ironbind.encoders.linear_classifier:linear_classifier",
    "load_calibrated": "ironbind.calibration.calibrated:load_calibrated",
    "load_dataset": "ironbind.data:load_dataset",
    "load_encoder": "ironbind.encoders:load_encoder",
    "mteb_model": "ironbind.encoders.mteb_model:mteb_model",
    "narrowed": "ironbind.calibration.narrowing:narrowed",
    "open_run": "ironbind.runs.stored_jobs.open_run:open_run",
    "recipes": "ironbind.recipes",
    "reshaped": "ironbind.calibration.narrowing:reshaped",
    "retrieval": "ironbind.evaluate.tasks.zero_shot:retrieval",
    "scan_index": "ironbind.index_guard.index_scan:scan_index",
    "write_report": "ironbind.report:write_report",
    "zero_shot": "ironbind.runs.prompted_tasks:zero_shot",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'ironbind' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    loaded = import_module(module)
    value = getattr(loaded, attribute) if attribute else loaded
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
