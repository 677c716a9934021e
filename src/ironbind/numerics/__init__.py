"""Pure functions of tensors: norms and projections, scores and ranks, goals, per-sample randomness, and what torch
modules need. Knows no data.
"""
