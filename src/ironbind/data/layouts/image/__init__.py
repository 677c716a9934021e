"""Layouts of image data sets."""
