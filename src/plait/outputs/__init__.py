"""Kinds of output: what a model can answer with."""
