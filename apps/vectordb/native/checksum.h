// A checksum against damage (not against forgery): four lanes of multiply and rotate. Each step is a bijection of the lane and of the word, so
// that damage within one word never goes unseen.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace curator {

class Checksum {
 public:
  void add(const void* data, size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    size_ += size;
    for (; size > 0 && held_ > 0; ++bytes, --size) add_byte(*bytes);
    for (; size >= 32; bytes += 32, size -= 32) add_block(bytes);
    for (; size > 0; ++bytes, --size) add_byte(*bytes);
  }
  uint64_t value() const {
    Checksum last = *this;
    while (last.held_ > 0) last.add_byte(0);
    return (last.lanes_[0] ^ std::rotl(last.lanes_[1], 17) ^ std::rotl(last.lanes_[2], 31) ^ std::rotl(last.lanes_[3], 47)) + size_ * kFactor;
  }

 private:
  static constexpr uint64_t kFactor = 0x9E3779B97F4A7C15ull;

  void add_byte(unsigned char byte) {
    block_[held_++] = byte;
    if (held_ < 32) return;
    held_ = 0;
    add_block(block_);
  }
  void add_block(const unsigned char* bytes) {
    uint64_t words[4];
    std::memcpy(words, bytes, 32);
    for (int lane = 0; lane < 4; ++lane) lanes_[lane] = std::rotl((lanes_[lane] ^ words[lane]) * kFactor, 29);
  }

  uint64_t lanes_[4] = {1, 2, 3, 4};
  uint64_t size_ = 0;
  unsigned char block_[32] = {};
  uint32_t held_ = 0;
};

inline uint64_t checksum(const void* data, size_t size) {
  Checksum sum;
  sum.add(data, size);
  return sum.value();
}

}  // namespace curator
