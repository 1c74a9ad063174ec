"""The network side of a text output, in torch."""
