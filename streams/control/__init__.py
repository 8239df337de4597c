"""The control stage: from findings to signed commands."""
