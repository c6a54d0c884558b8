"""What every variant in the registry must hold, as tests made from its own claims: the kernel contract of the design.

They are in the package so that `launch.py check` holds a user's own attention to them wherever it is installed.
"""
