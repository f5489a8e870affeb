"""Curator's index, database and service beside those that one could use instead: see `python -m bench.vectordb --help`."""
