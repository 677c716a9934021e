"""What an attacker wants: misclassification, a missed retrieval, a chosen target, a hub, a shifted embedding."""
