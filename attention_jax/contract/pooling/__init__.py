"""What every pooling must hold, as tests made from its own claims."""
