"""Sounds, and their representations."""
