"""Feature networks: images of any size to features and logits, with their weights, resizing and fingerprint."""
