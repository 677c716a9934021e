"""The built-in procedural world: six modalities of the same instances."""
