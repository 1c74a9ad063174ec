"""Recipes, their overrides and old names, and the registry of components."""
