"""Several attentions joined into one."""
