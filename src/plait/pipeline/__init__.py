"""From a table to records, cached features and batches."""
