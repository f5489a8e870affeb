// UTF-8 as protobuf means it: shortest forms only, no surrogates, nothing over U+10FFFF.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace mrpc::message {

namespace detail {

// Bytes of the sequence that starts at `at` (its first byte is not ASCII), 0 when it is not valid.
inline unsigned utf8_sequence(const uint8_t* at, size_t left) {
  const auto tail = [&](unsigned i, uint8_t low = 0x80, uint8_t high = 0xbf) { return at[i] >= low && at[i] <= high; };
  const uint8_t lead = at[0];
  if (lead < 0xc2 || lead > 0xf4) return 0;
  if (lead < 0xe0) return left >= 2 && tail(1) ? 2 : 0;
  if (lead < 0xf0) {
    const uint8_t low = lead == 0xe0 ? 0xa0 : 0x80, high = lead == 0xed ? 0x9f : 0xbf;
    return left >= 3 && tail(1, low, high) && tail(2) ? 3 : 0;
  }
  const uint8_t low = lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xf4 ? 0x8f : 0xbf;
  return left >= 4 && tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
}

}  // namespace detail

inline bool valid_utf8(std::string_view text) {
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  size_t left = text.size();
  while (left > 0) {
    uint64_t word = 0;
    if (left >= 8 && (std::memcpy(&word, at, 8), (word & 0x8080808080808080u) == 0)) {
      at += 8, left -= 8;
      continue;
    }
    const unsigned n = *at < 0x80 ? 1 : detail::utf8_sequence(at, left);
    if (n == 0) return false;
    at += n, left -= n;
  }
  return true;
}

}  // namespace mrpc::message
