"""An assistant built from trained packages: you ask in words, and it shows its evidence."""
