"""MODALITIES: name -> Modality, one small file each. Adding a modality is one file and one line here."""

from ironbind.core.registry import Table

MODALITIES = Table(
    "modality",
    {
        "image": "ironbind.modalities.image:IMAGE",
        "video": "ironbind.modalities.video:VIDEO",
        "audio": "ironbind.modalities.audio:AUDIO",
        "point": "ironbind.modalities.point:POINT",
        "thermal": "ironbind.modalities.thermal:THERMAL",
        "event": "ironbind.modalities.event:EVENT",
        "depth": "ironbind.modalities.depth:DEPTH",
        "imu": "ironbind.modalities.imu:IMU",
        "text": "ironbind.modalities.text:TEXT",
    },
)
