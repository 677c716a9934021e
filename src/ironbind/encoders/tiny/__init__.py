"""The built-in encoder of the procedural world."""
