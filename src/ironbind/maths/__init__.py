"""Pure functions of tensors: norms and projections, scores and ranks, goals, per-sample randomness. Knows no encoder and no data."""
