"""Numbers that must not change unnoticed."""
