"""Encoders that are broken on purpose, and the test that every check finds their faults."""
