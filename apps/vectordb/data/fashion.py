"""Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 grey values. Ten brands own a class each, and shops see some of them."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .dataset import Dataset
from .embed import Report
from .sharing import Access, by_id, share
from .sources import MissingSource, debian
from .splitting import split

CLASSES = ("t-shirts", "trousers", "pullovers", "dresses", "coats", "sandals", "shirts", "sneakers", "bags", "boots")
SHOPS = 500
QUERIES = 1000
SIGNS = 4  # a class is cut by as many hyperplanes into what shops specialise in


def fashion_mnist(report: Report) -> Dataset:
    """69,000 vectors of 784 values in [0, 1] under l2, 1000 queries; about ten tenants a picture. MissingSource."""
    folder = debian("dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist")
    images = np.concatenate([read(folder / f"{part}-images-idx3-ubyte.gz", 3) for part in ("train", "t10k")])
    labels = np.concatenate([read(folder / f"{part}-labels-idx1-ubyte.gz", 1) for part in ("train", "t10k")]).astype(np.int64)
    vectors = images.reshape(len(images), -1).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    access = owned_by_class(labels, share(rng, styles(rng, vectors, labels), SHOPS, per_vector=9, local=0.8))
    names = CLASSES + tuple(f"shop-{number:03d}" for number in range(SHOPS))
    held = np.sort(rng.choice(np.arange(60_000, 70_000), QUERIES, replace=False))
    report(len(vectors), len(vectors))
    return split(rng, "fashion-mnist", "l2", vectors, access, names, held)


def styles(rng: np.random.Generator, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """A number for each picture: its class, and on which side of some random hyperplanes through the mean it lies."""
    planes = rng.standard_normal((vectors.shape[1], SIGNS), np.float32)
    projected = vectors @ planes
    return labels * 2**SIGNS + (projected > projected.mean(axis=0)) @ (1 << np.arange(SIGNS))


def owned_by_class(labels: NDArray[np.int64], shops: Access) -> Access:
    """The shops' access with every shop a guest: their numbers follow the classes'."""
    ids = np.concatenate([np.arange(len(labels)), shops.ids.astype(np.int64)])
    return by_id(labels.astype(np.uint32), ids, np.concatenate([shops.owners, shops.tenants]).astype(np.int64) + len(CLASSES))


def read(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An IDX file of bytes: two zeros, the type 8, the number of dimensions, each as u32 big-endian, the values. MissingSource."""
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        data = b""
    shape = np.frombuffer(data, ">u4", dimensions, offset=4).astype(int) if len(data) >= 4 + 4 * dimensions else np.array([-1])
    if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) != 4 + 4 * dimensions + shape.prod():
        raise MissingSource(f"{path} is damaged: apt-get install --reinstall dataset-fashion-mnist")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
