"""Layouts of thermal data sets."""
