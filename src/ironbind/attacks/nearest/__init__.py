"""Attacks that search for the nearest adversarial example, and one that goes on from it."""
