"""The door of the pure world: columns and time in, effects out."""
