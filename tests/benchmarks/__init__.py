"""Tests of what the benchmarks and the public data sets are made with, on rows typed by hand."""
