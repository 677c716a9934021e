"""Pure functions of tensors: norms and projections, scores and ranks, batches, per-sample randomness, cached values, and
what torch modules need. Knows no data.
"""
