"""The grid of the paper: cells and what each of them runs."""
