// IEEE half precision, where no kernel is at hand. Rounds to nearest even; what is too large becomes infinity.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace curator {

inline constexpr float kHalfMax = 65504.0f;

inline uint16_t to_half(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000;
  const float size = std::fabs(value);
  if (!(size < 65520.0f)) return static_cast<uint16_t>(sign | (std::isnan(value) ? 0x7E00 : 0x7C00));
  // Below 2^-14 halves are multiples of 2^-24: the addition of 0.5 rounds to them.
  if (size < 0x1p-14f) return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(size + 0.5f) - std::bit_cast<uint32_t>(0.5f)));
  const uint32_t magnitude = bits & 0x7FFFFFFF;
  return static_cast<uint16_t>(sign | ((magnitude - (112u << 23) + 0xFFF + (magnitude >> 13 & 1)) >> 13));
}

inline float from_half(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 0x3FF;
  if (exponent == 0) return std::copysign(static_cast<float>(fraction) * 0x1p-24f, std::bit_cast<float>(sign | 0x3F800000));
  return std::bit_cast<float>(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

}  // namespace curator
