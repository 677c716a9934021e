"""Encoders of the transformers library."""
