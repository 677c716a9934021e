"""Layouts of audio data sets."""
