"""Free-running predictions and their scores."""
