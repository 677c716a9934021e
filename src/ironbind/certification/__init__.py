"""Proofs instead of attacks: how far a sample may be moved before its answer may change."""
