"""Recipes, their overrides, and the registry of components."""
