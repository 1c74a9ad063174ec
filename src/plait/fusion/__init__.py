"""Ways of fusing: one file each."""
