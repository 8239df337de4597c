"""Bytes on topics: the only place that knows JSON keys."""
