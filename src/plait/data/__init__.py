"""Tables, splits, safe opening of media, the feature cache."""
