"""Tests of the commands' own modules; tests/launch runs the commands themselves."""
