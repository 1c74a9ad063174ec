"""Texts, and their representations."""
