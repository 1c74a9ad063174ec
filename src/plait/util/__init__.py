"""Files, digests, optional imports, suggestions: nothing that knows about models."""
