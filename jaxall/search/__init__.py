"""Searches over settings: what is searched, its trials, and their runs."""
