"""The tests mirror the house: a folder a room, and `contract` for what the oracle knows of each variant."""
