// Sealed anonymous memory that a daemon makes and shares with an application.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/fd.h"
#include "base/result.h"

namespace mrpc::shm {

enum class Access { kReadOnly, kReadWrite };

// A mapping of a memfd, unmapped when dropped.
class Mapping {
 public:
  Mapping() = default;
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  // Maps all `bytes` of `fd`. Errors: kResourceExhausted when the kernel has no room.
  static Result<Mapping> map(int fd, size_t bytes, Access access);

  std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }
  std::span<std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Makes a memfd of exactly `bytes` that can neither shrink, grow nor execute, readable and writable by its owner alone
// (memfds are born 0777: without this any process could reopen a read-only descriptor for writing).
Result<Fd> create_region(const char* name, size_t bytes);

// The same memory through a descriptor that cannot be mapped for writing.
Result<Fd> reopen_read_only(int fd);

// Whether `fd` is a region as create_region makes it, of at least `bytes`: an application checks what it maps.
Status check_region(int fd, size_t bytes);

// Gives the pages of [offset, offset + bytes) back to the system; they read as zeros afterwards. Whole pages only.
void punch_hole(int fd, uint64_t offset, uint64_t bytes);

}  // namespace mrpc::shm
