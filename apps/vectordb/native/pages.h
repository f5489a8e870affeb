// Memory straight from the kernel: zero, and not there until it is touched, which memory of the allocator's that had another owner is.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>

namespace curator {

class Pages {
 public:
  Pages() = default;
  // dense: so many of the bytes, from the front, will be filled: large pages, which spare misses of the TLB, waste nothing there.
  Pages(size_t bytes, size_t dense) : bytes_((bytes + kPage - 1) / kPage * kPage) {
    const size_t spare = dense >= kHuge ? kHuge : 0;
    void* const mapped = ::mmap(nullptr, bytes_ + spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(mapped);
    if (spare == 0) return;
    const size_t head = (kHuge - reinterpret_cast<uintptr_t>(mapped) % kHuge) % kHuge;
    if (head > 0) ::munmap(data_, head);
    data_ += head;
    if (spare > head) ::munmap(data_ + bytes_, spare - head);
    ::madvise(data_, dense / kHuge * kHuge, MADV_HUGEPAGE);
  }
  Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Pages& operator=(Pages&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Pages() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }

  std::byte* get() const { return data_; }

 private:
  static constexpr size_t kPage = 4096, kHuge = size_t{2} << 20;

  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace curator
