"""What an attacker wants of embeddings: misclassify, miss what is retrieved, reach a target, be a hub, shift the embedding."""
