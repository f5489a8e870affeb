// The loops in which a search spends its time, compiled for every instruction set of this architecture (Highway) and chosen once, at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace curator {

// Codes of dimensions come in blocks of 64 (see codes.h): 16 words of 16 bits; bits 4s … 4s+3 of word i are dimension 16s + i of the block.
inline constexpr size_t kBlockDims = 64, kBlockBytes = kBlockDims / 2, kBlockWords = 16;
inline constexpr size_t kTailBytes = 12;  // behind the blocks; fetched with them
inline constexpr float kMiddle = 7.5f;    // between the nibbles 7 and 8

// rows: `count` addresses of rows of `dim` elements, aligned to an element. A row's memory is fetched while earlier ones are worked on.
using RowsKernel = void (*)(const float* query, const std::byte* const* rows, size_t count, size_t dim, float* out);
// out[i] = sum of query[j] * (code j of codes[i]). The caller sees to it that the sum of 15 * |query[j]| fits an int32.
using ScanKernel = void (*)(const int16_t* query, const std::byte* const* codes, size_t count, size_t blocks, int32_t* out);
// Both of `blocks` whole blocks, those past `dim` zero. x: as much space. words: where the code goes.
struct Coded {
  float norm = 0, along = 0, length = 0, across = 0;  // of x = vector - reference and its u (codes.h): x·x, x·u, u·u, reference·u
  float quality() const { return length > 0 ? along * along / length : 0; }  // of |x|², what u's direction keeps
};
using EncodeKernel = Coded (*)(const float* vector, const float* reference, size_t dim, size_t blocks, float* x, uint16_t* words);

struct Kernels {
  const char* target;             // the instruction set's name
  RowsKernel squared, squared_half;  // squared L2 distance to rows of float32, of float16
  RowsKernel product, product_half;  // inner product
  ScanKernel scan;
  EncodeKernel encode;
};

const Kernels& kernels();                          // the best this CPU runs
std::vector<const Kernels*> every_kernels();       // all that this CPU runs; for tests

}  // namespace curator
