"""A run against thresholds and against an earlier run, for continuous integration. Reads what a run folder holds; no
torch.
"""
