"""What several encoders are built from: the transformer trunk, filter banks, tokens, resizing, checkpoints."""
