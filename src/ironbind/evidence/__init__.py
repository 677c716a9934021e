"""An evidence pack: adversarial examples of a run as files that anybody can open, and its numbers as hubs read them."""
