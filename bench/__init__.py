"""Benchmarks: one folder a claim, each run as `python -m bench.NAME`; `python -m bench` runs all and renders RESULTS.md."""
