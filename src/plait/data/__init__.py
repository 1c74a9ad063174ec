"""Tables, splits, and safe reading of media."""
