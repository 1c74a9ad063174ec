"""Decoders: each scores the next token of a text; settings here, networks in `networks`."""
