"""Plain columns beside the media: numbers, categories, dates."""
