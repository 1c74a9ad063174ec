"""Language models of a text output's texts, which guide its decoder."""
