"""UniBind: encoder, inputs, networks, class centers."""
