"""EfficientNet-Lite0 and all-MiniLM-L6-v2, bound through ImageNet's classes."""
