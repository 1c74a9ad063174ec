"""Thin uses of a model: caption, predict, transcribe, translate, explain, summarise."""
