"""LanguageBind: encoder, inputs, networks."""
