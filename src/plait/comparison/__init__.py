"""Comparing ways to learn from a table: variants, runs, statistics, pictures."""
