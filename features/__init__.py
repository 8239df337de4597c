"""The facts: what a value is, and when it became true."""
