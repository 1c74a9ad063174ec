"""An assistant made of trained packages: it is asked in words, and shows what it goes by."""
