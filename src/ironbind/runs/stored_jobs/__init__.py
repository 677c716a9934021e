"""The jobs of a run folder, written to a file and read back."""
