"""What every variant in the registry must hold, made from its own claims: see "The kernel contract" in the design."""
