"""How data sets lie on a disk, one file per layout, by modality."""
