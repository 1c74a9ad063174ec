"""Photos and pictures, and their representations."""
