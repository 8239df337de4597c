"""Batches for Faust: one item per (partition, fetch), its record batches unparsed."""
