"""What every mixer must hold, as tests made from its own claims."""
