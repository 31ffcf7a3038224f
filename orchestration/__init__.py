"""Dagster plumbing and the command line, one concept a file."""
