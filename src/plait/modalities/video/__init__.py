"""Video: moving pictures."""
