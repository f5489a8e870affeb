#include "store.h"

#include <algorithm>
#include <cfloat>
#include <cstring>

#include "half.h"
#include "simd/kernels.h"

namespace curator {

Store::Store(const Options& options, const Codec& codec)
    : options_(options), codec_(codec), row_bytes_(options.row_bytes()), head_bytes_(codec.head_bytes()), rest_bytes_(codec.rest_bytes()),
      head_segments_((size_t{1} << (32 - kHeadSegmentBits)) * sizeof(std::byte*), 0), heads_(reinterpret_cast<std::byte**>(head_segments_.get())) {}

void Store::load(Slot slot, float* out) const {
  const std::byte* from = row(slot);
  if (options_.element == Element::kFloat32) return void(std::memcpy(out, from, row_bytes_));
  for (uint32_t i = 0; i < options_.dim; ++i) {
    uint16_t half;
    std::memcpy(&half, from + 2 * i, 2);
    out[i] = from_half(half);
  }
}

uint32_t Store::take_chunk(NodeId leaf, Path path) {
  uint32_t chunk = chunks_;
  if (!free_chunks_.empty()) {
    chunk = free_chunks_.back();
    free_chunks_.pop_back();
  } else if (chunk % kSegmentChunks == 0) {
    segments_.grow();
    Segment& fresh = segments_[chunk / kSegmentChunks];
    const size_t first = size_t{chunk} * kChunk, dense = dense_from(first, kSegment);
    fresh.rows = Pages(size_t{kSegment} * row_bytes_, dense * row_bytes_);
    fresh.rests = Pages(size_t{kSegment} * rest_bytes_, dense * rest_bytes_);
    if (constexpr size_t kMany = size_t{1} << kHeadSegmentBits; first % kMany == 0) {
      head_pages_.emplace_back(kMany * head_bytes_, dense_from(first, kMany) * head_bytes_);
      heads_[first / kMany] = head_pages_.back().get();
    }
  }
  if (chunk == chunks_) ++chunks_;
  Segment& segment = segments_[chunk / kSegmentChunks];
  segment.leaves[chunk % kSegmentChunks] = leaf;
  segment.paths[chunk % kSegmentChunks] = path;
  chunk_state(chunk) = {};
  return chunk;
}

// How many of the `most` slots from one on will be filled.
size_t Store::dense_from(size_t slot, size_t most) const { return slot < expected_ ? std::min(most, expected_ - slot) : most; }

Slot Store::take(uint32_t chunk) {
  ChunkState& state = chunk_state(chunk);
  const auto free = static_cast<uint16_t>(~(state.live | state.waiting));
  if (free == 0) return kNone;
  const int lane = std::countr_zero(free);
  state.live = static_cast<uint16_t>(state.live | 1u << lane);
  return chunk * kChunk + static_cast<uint32_t>(lane);
}

void Store::write(Slot slot, VectorId id, const float* vector, const float* reference) {
  Segment& home = segment(slot);
  std::byte* const row = home.rows.get() + size_t{slot % kSegment} * row_bytes_;
  home.ids[slot % kSegment] = id;
  if (options_.element == Element::kFloat32) {
    std::memcpy(row, vector, row_bytes_);
  } else {
    for (uint32_t i = 0; i < options_.dim; ++i) {
      const uint16_t half = to_half(vector[i]);
      std::memcpy(row + 2 * i, &half, 2);
    }
  }
  encode(slot, vector, reference);
}

bool Store::restore_row(Slot slot, const void* row, const float* reference) {
  std::byte* const copy = segment(slot).rows.get() + size_t{slot % kSegment} * row_bytes_;
  std::memcpy(copy, row, row_bytes_);
  thread_local std::vector<float> vector;
  vector.resize(options_.dim);
  load(slot, vector.data());
  const bool half = options_.element == Element::kFloat16;
  float square;
  (half ? kernels().product_half : kernels().product)(vector.data(), &copy, 1, options_.dim, &square);
  if (!(square <= FLT_MAX / 4)) return false;
  encode(slot, vector.data(), reference);
  return true;
}

void Store::encode(Slot slot, const float* vector, const float* reference) {
  const Segment& home = segment(slot);
  std::byte* const head = heads_[slot >> kHeadSegmentBits] + (slot % (size_t{1} << kHeadSegmentBits)) * head_bytes_;
  codec_.encode(vector, reference, head, home.rests.get() + slot % kSegment * rest_bytes_);
}

void Store::copy(Slot from, Slot to, const float* reference) {
  std::vector<float> vector(options_.dim);
  load(from, vector.data());
  write(to, id(from), vector.data(), reference);
  const auto set = access(from).of(from % kChunk);
  access(to).assign(to % kChunk, std::vector(set.begin(), set.end()));  // maybe in the same block
}

void Store::retire(Slot slot) {
  ChunkState& state = chunk_state(slot / kChunk);
  const auto lane = static_cast<uint16_t>(1u << slot % kChunk);
  MRPC_ASSERT(state.live & lane);
  state.live = static_cast<uint16_t>(state.live & ~lane);
  state.waiting = static_cast<uint16_t>(state.waiting | lane);
  access(slot).clear(slot % kChunk);
}

bool Store::release(Slot slot) {
  const uint32_t chunk = slot / kChunk;
  ChunkState& state = chunk_state(chunk);
  state.waiting = static_cast<uint16_t>(state.waiting & ~(1u << slot % kChunk));
  if (state.live != 0 || state.waiting != 0) return false;
  if (state.orphan) free_chunk(chunk);
  return true;
}

void Store::free_chunk(uint32_t chunk) { free_chunks_.push_back(chunk); }

size_t Store::bytes_access() const {
  size_t bytes = size_t{chunks_} * sizeof(AccessSets);
  for (uint32_t chunk = 0; chunk < chunks_; ++chunk) bytes += access(chunk * kChunk).bytes();
  return bytes;
}

}  // namespace curator
