"""Pure functions of tensors: norms and projections, scores and ranks, batches, randomness per sample, cached values,
and what torch modules need. Knows no data.
"""
