"""Point clouds for plait."""
