"""Layouts of video data sets."""
