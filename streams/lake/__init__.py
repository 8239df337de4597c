"""The lake: Parquet segments and commits made by link(2), read by anybody and locked by nobody."""
