"""Whole captioners of the transformers library."""
