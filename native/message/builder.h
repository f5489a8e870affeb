// Lays the parts of an image side by side, in the order in which they are appended: the caller keeps canonical order.
// Into a vector that grows, or into a fixed span. Every append is checked against a limit before memory is taken.
//
//   ImageBuilder image(out, limits.message_bytes_max);
//   auto root = image.append(layout.struct_bytes);       // offset; zeroed; nullopt: over the limit
//   auto name = image.append_content("bob");
//   image.set(*root + field.offset, *name);
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "message/layout.h"

namespace mrpc::message {

constexpr uint64_t kImageBytesMax = UINT32_MAX;  // offsets are 32 bits wide

class ImageBuilder {
 public:
  // `out` must be empty; it is the image afterwards.
  ImageBuilder(std::vector<std::byte>& out, uint64_t bytes_max) : grow_(&out), limit_(std::min(bytes_max, kImageBytesMax)) {}
  // The image is the first size() bytes of `out`.
  explicit ImageBuilder(std::span<std::byte> out) : data_(out.data()), limit_(std::min<uint64_t>(out.size(), kImageBytesMax)) {}

  // A part of `bytes` zeros at the next multiple of 8. Nullopt, and nothing changed, when it passes the limit.
  std::optional<uint32_t> append(uint64_t bytes) {
    const uint64_t at = (size_ + 7) & ~uint64_t{7};
    if (at > limit_ || bytes > limit_ - at) return std::nullopt;
    if (grow_ != nullptr) {
      grow_->resize(at + bytes);
      data_ = grow_->data();
    } else {
      std::memset(data_ + size_, 0, at + bytes - size_);
    }
    size_ = at + bytes;
    return static_cast<uint32_t>(at);
  }

  // Content of a string or bytes field. Empty content takes no room: its Ref is {0, 0}.
  std::optional<Ref> append_content(std::string_view content) {
    if (content.empty()) return Ref{};
    const auto at = append(content.size());
    if (!at) return std::nullopt;
    std::memcpy(data_ + *at, content.data(), content.size());
    return Ref{*at, static_cast<uint32_t>(content.size())};
  }

  template <typename T>
  void set(uint64_t at, const T& value) { std::memcpy(data_ + at, &value, sizeof value); }

  // Marks the field of the struct at `struct_at` as present.
  void set_present(uint32_t struct_at, const FieldLayout& field) {
    data_[struct_at + 8 + field.index / 8] |= std::byte{1} << (field.index % 8);
  }

  std::byte* at(uint64_t offset) { return data_ + offset; }  // until the next append
  uint64_t size() const { return size_; }

 private:
  std::vector<std::byte>* grow_ = nullptr;
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  uint64_t limit_;
};

}  // namespace mrpc::message
