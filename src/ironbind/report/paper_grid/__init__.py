"""Several runs as the tables of a paper."""
