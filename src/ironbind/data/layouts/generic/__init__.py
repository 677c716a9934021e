"""Layouts that hold any modality: class folders, lists, archives."""
