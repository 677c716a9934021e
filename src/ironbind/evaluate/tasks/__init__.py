"""The tasks of an encoder: zero-shot classification, retrieval, illusions, hubs."""
