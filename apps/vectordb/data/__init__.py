"""The data that the vector database is judged and shown with: built from seeds and packages, without a network.

    from apps.vectordb.data import load
    data = load("wordnet")            # builds it once, then reads the cache; `python -m apps.vectordb.data` lists the names
    truth = data.truth("correlated", k=10)
"""

from .catalogue import NAMES, load, load_texts
from .clustered import synthetic
from .dataset import CASES, NO_ID, Case, Dataset, Truth
from .sources import MissingSource

__all__ = ["CASES", "NAMES", "NO_ID", "Case", "Dataset", "MissingSource", "Truth", "load", "load_texts", "synthetic"]
