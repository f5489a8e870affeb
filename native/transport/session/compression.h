// Segments in zstd: rule 7 of frame.h. Each segment stands for itself, so that what is lost or sent again is a segment, as without.
#pragma once

#include <sys/uio.h>

#include <memory>

#include "transport/session/frame.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace mrpc::transport {

class Compressor {
 public:
  // The pieces as a kCompressed segment's payload; empty when that would not be clearly shorter than they are.
  std::vector<std::byte> compress(std::span<const iovec> pieces, uint8_t level);

 private:
  struct Free { void operator()(ZSTD_CCtx_s* context) const; };
  std::unique_ptr<ZSTD_CCtx_s, Free> context_;
  std::vector<std::byte> whole_;
};

class Decompressor {
 public:
  // What a kCompressed segment stands for, good until the next call. Errors: kInvalidArgument.
  Result<std::span<const std::byte>> decompress(std::span<const std::byte> payload);

 private:
  struct Free { void operator()(ZSTD_DCtx_s* context) const; };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
  std::vector<std::byte> whole_;
};

}  // namespace mrpc::transport
