"""Trained models as a server and a web page."""
