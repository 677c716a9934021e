"""Layouts of event data sets."""
