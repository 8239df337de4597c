"""The rim of the audit: files in, reports out, larger than memory in between."""
