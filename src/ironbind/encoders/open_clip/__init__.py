"""Checkpoints of open_clip whose towers are CLIP's, read without open_clip."""
