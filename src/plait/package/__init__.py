"""A trained model as a folder of data: its format, its card, its paths, and the Hub."""
