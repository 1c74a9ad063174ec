"""Kinds of input. A modality is a folder here; each of its representations is one file in it."""
