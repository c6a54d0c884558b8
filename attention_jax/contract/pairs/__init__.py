"""What every pair must hold, as tests made from its own claims."""
