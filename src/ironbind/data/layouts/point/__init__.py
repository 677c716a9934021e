"""Layouts of point data sets."""
