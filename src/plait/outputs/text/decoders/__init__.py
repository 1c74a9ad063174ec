"""Decoders: each says what the next token's scores are; one file each."""
