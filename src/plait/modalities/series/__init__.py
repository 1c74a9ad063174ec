"""Sensor series, and their representations."""
