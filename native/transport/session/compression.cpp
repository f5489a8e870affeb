#include "transport/session/compression.h"

#include <zstd.h>

#include <cstring>

namespace mrpc::transport {
namespace {

constexpr size_t kGainMin = 8;  // a segment must get shorter by this part at least

}  // namespace

void Compressor::Free::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }
void Decompressor::Free::operator()(ZSTD_DCtx_s* context) const { ZSTD_freeDCtx(context); }

std::vector<std::byte> Compressor::compress(std::span<const iovec> pieces, uint8_t level) {
  if (!context_) context_.reset(ZSTD_createCCtx());
  whole_.clear();
  for (const iovec& piece : pieces) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    whole_.insert(whole_.end(), from, from + piece.iov_len);
  }
  const auto raw_bytes = static_cast<uint32_t>(whole_.size());
  if (!context_ || raw_bytes < sizeof raw_bytes * kGainMin) return {};
  std::vector<std::byte> out(raw_bytes - raw_bytes / kGainMin);
  std::memcpy(out.data(), &raw_bytes, sizeof raw_bytes);
  const size_t bytes = ZSTD_compressCCtx(context_.get(), out.data() + sizeof raw_bytes, out.size() - sizeof raw_bytes, whole_.data(), raw_bytes, level);
  if (ZSTD_isError(bytes)) return {};  // it does not fit
  out.resize(sizeof raw_bytes + bytes);
  return out;
}

Result<std::span<const std::byte>> Decompressor::decompress(std::span<const std::byte> payload) {
  uint32_t raw_bytes = 0;
  if (payload.size() < sizeof raw_bytes) return invalid_argument("a compressed segment is too short");
  std::memcpy(&raw_bytes, payload.data(), sizeof raw_bytes);
  if (raw_bytes > kChunkBytes) return invalid_argument("a compressed segment is longer than a segment may be");
  if (!context_) context_.reset(ZSTD_createDCtx());
  if (!context_) return resource_exhausted("no memory to decompress with");
  whole_.resize(kChunkBytes);
  const size_t bytes = ZSTD_decompressDCtx(context_.get(), whole_.data(), raw_bytes, payload.data() + sizeof raw_bytes, payload.size() - sizeof raw_bytes);
  if (ZSTD_isError(bytes) || bytes != raw_bytes) return invalid_argument("a compressed segment does not decompress");
  return std::span<const std::byte>(whole_).first(raw_bytes);
}

}  // namespace mrpc::transport
