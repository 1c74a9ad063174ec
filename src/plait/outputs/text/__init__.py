"""Sentences: the vocabulary, the decoders (one file each), the search and the scores."""
