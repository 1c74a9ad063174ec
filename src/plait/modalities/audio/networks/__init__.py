"""The networks of the audio representations."""
