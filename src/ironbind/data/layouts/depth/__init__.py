"""Layouts of depth data sets."""
