"""What is measured beside tminus: programs that run in an environment of their own (`benchmarks/audit.lock`)."""
