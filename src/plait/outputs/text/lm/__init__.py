"""Language models of the texts, which guide a decoder."""
