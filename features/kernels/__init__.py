"""Compiled loops of the facts; nothing here checks, logs or allocates objects."""
