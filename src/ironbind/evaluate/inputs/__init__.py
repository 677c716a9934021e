"""Decoded samples as tensors: prepared, kept, decoded by worker processes."""
