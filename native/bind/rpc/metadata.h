// Metadata between Python's list of (key, value) and a block's bytes.
#pragma once

#include <vector>

#include "bind/rpc/python.h"
#include "shm/block.h"

namespace mrpc::bind {

// Pairs whose views point into Python objects that this keeps alive.
class MetadataList {
 public:
  // `pairs`: any iterable of (key, value), or None. False with ValueError or TypeError set: a key that is not lower-case, a value
  // that is not text (bytes for "-bin" keys).
  bool read(PyObject* pairs);

  std::span<const shm::MetadataPair> pairs() const { return pairs_; }
  uint32_t bytes() const { return pairs_.empty() ? 0 : shm::metadata_bytes(pairs_); }

 private:
  bool read_pair(PyObject* pair);
  bool read_value(std::string_view key, PyObject* value);

  std::vector<PyRef> owners_;
  std::vector<shm::MetadataPair> pairs_;
};

// A tuple of (str, str | bytes) out of a block's metadata part.
PyObject* metadata_tuple(std::span<const std::byte> bytes);

}  // namespace mrpc::bind
