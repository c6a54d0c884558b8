"""The tests mirror the house: a folder a room, and `contract`, which is made from the registry."""
