"""The devices and the processes of a run, and where each array lies."""
