"""What is asked of an encoder: zero-shot classes, retrieval, illusions, hubs."""
