"""Compiled loops of the judges."""
