"""The decoders' networks, in torch."""
