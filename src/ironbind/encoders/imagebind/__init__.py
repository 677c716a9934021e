"""ImageBind: encoder, inputs, network."""
