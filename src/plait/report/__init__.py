"""One page of how a model does on a table."""
