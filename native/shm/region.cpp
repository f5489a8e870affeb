#include "shm/region.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <utility>

#include "shm/abi.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace mrpc::shm {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Error from_errno(const std::string& what) { return resource_exhausted(what + ": " + std::strerror(errno)); }

}  // namespace

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Mapping::~Mapping() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

Result<Mapping> Mapping::map(int fd, size_t bytes, Access access) {
  const int protection = access == Access::kReadWrite ? PROT_READ | PROT_WRITE : PROT_READ;
  void* at = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (at == MAP_FAILED) return from_errno("cannot map shared memory");
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(at);
  mapping.bytes_ = bytes;
  return mapping;
}

Result<Fd> create_region(const char* name, size_t bytes) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (!fd) return from_errno("memfd_create");
  if (::fchmod(fd.get(), 0600) != 0) return from_errno("fchmod");
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return from_errno("ftruncate");
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return from_errno("F_ADD_SEALS");
  return fd;
}

Result<Fd> reopen_read_only(int fd) {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  Fd reopened(::open(path, O_RDONLY | O_CLOEXEC));
  if (!reopened) return from_errno("cannot reopen shared memory read-only (is /proc mounted?)");
  return reopened;
}

Status check_region(int fd, size_t bytes) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return from_errno("fstat");
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || static_cast<size_t>(info.st_size) < bytes)
    return internal_error("the daemon sent memory that is not sealed or too small");
  return ok_status();
}

void punch_hole(int fd, uint64_t offset, uint64_t bytes) {
  MRPC_ASSERT(offset % abi::kPage == 0 && bytes % abi::kPage == 0);
  // A failure leaves the pages where they are: nothing is lost but the saving.
  (void)::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset), static_cast<off_t>(bytes));
}

}  // namespace mrpc::shm
