"""Encoders that are broken on purpose, and the test that every check rings on them."""
