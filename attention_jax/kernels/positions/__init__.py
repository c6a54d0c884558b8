"""Positions of tokens, in the logits or in the embeddings: one file per encoding; importing a file registers it."""
