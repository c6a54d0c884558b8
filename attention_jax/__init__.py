"""attention_jax: pick an attention mechanism by name, trade it for another in any model, compare them honestly."""
