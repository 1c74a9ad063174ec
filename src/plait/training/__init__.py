"""Training: from a recipe and a table to a model."""
