"""Sparse vectors: pairs of an index and a value, such as a text's terms and their weights, beside the dense vector of a point.

Each is stored once, by slot (`store.py`). Of what a tenant sees a `View` is made when it first searches: which points have an index, and
with which value. Everything that a score is made of is counted there, and nothing else is ever looked at.
"""
