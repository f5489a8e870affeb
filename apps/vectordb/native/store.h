// Vectors in the order of the tree's leaves.
//
// Slots come in chunks of 16; a chunk belongs to one leaf for its whole life, so that what lies together in space lies together in memory,
// and the leaf, and with it the path, of a slot is that of its chunk. A slot is written once, before anything that readers see names
// it, and used again only after the last reader that could know it has left (take, then release through the epochs): a vector that is
// changed or moved gets another slot.
#pragma once

#include <bit>
#include <memory>
#include <span>
#include <vector>

#include "access.h"
#include "codes.h"
#include "pages.h"
#include "segmented.h"
#include "types.h"

namespace curator {

inline constexpr uint32_t kChunk = 16;

class Store {
 public:
  Store(const Options& options, const Codec& codec);

  // Readers'.
  const std::byte* row(Slot slot) const { return segment(slot).rows.get() + size_t{slot % kSegment} * row_bytes_; }
  HeadsAt heads() const { return {heads_, head_bytes_}; }
  CodeAt code(Slot slot) const { return {heads()[slot], segment(slot).rests.get() + size_t{slot % kSegment} * rest_bytes_}; }
  VectorId id(Slot slot) const { return segment(slot).ids[slot % kSegment]; }
  void fetch_id(Slot slot) const { __builtin_prefetch(&segment(slot).ids[slot % kSegment]); }
  NodeId leaf(Slot slot) const { return segment(slot).leaves[slot % kSegment / kChunk]; }
  Path path(Slot slot) const { return segment(slot).paths[slot % kSegment / kChunk]; }
  uint32_t row_bytes() const { return row_bytes_; }
  // The order of shortlists: by path, then by slot, so that everything below a node is one range.
  bool before(Slot a, Slot b) const {
    const Path pa = path(a), pb = path(b);
    return pa != pb ? pa < pb : a < b;
  }
  void load(Slot slot, float* out) const;  // the row as float32

  // The writer's.
  void expect(size_t vectors) { expected_ = vectors; }  // so many come to an empty store, and maybe no more
  uint32_t take_chunk(NodeId leaf, Path path);
  Slot take(uint32_t chunk);                       // a free lane of it, or kNone
  void write(Slot slot, VectorId id, const float* vector, const float* reference);
  // What an image holds of a slot; false: the row is not finite. Rows may be restored by another thread than all else.
  void restore_id(Slot slot, VectorId id) { segment(slot).ids[slot % kSegment] = id; }
  bool restore_row(Slot slot, const void* row, const float* reference);
  void copy(Slot from, Slot to, const float* reference);  // to another leaf, access set and all
  void retire(Slot slot);                          // no longer used; readers may still read it
  // Readers have left. True when that emptied the chunk: if it is an orphan it is free already, else the leaf gives it back.
  bool release(Slot slot);
  void orphan(uint32_t chunk) { chunk_state(chunk).orphan = true; }  // its leaf is no more
  void free_chunk(uint32_t chunk);
  bool orphaned(uint32_t chunk) const { return chunk_state(chunk).orphan; }
  uint16_t live(uint32_t chunk) const { return chunk_state(chunk).live; }      // a bit a lane
  uint16_t waiting(uint32_t chunk) const { return chunk_state(chunk).waiting; }
  AccessSets& access(Slot slot) { return segment(slot).access[slot % kSegment / kChunk]; }
  const AccessSets& access(Slot slot) const { return segment(slot).access[slot % kSegment / kChunk]; }
  template <typename F>
  void each_live(uint32_t chunk, F&& visit) const {
    for (uint32_t lanes = live(chunk); lanes != 0; lanes &= lanes - 1) visit(chunk * kChunk + static_cast<uint32_t>(std::countr_zero(lanes)));
  }
  uint32_t chunks() const { return chunks_; }  // ever taken
  size_t bytes_rows() const { return size_t{chunks_} * kChunk * row_bytes_; }
  size_t bytes_codes() const { return size_t{chunks_} * kChunk * (head_bytes_ + rest_bytes_); }
  size_t bytes_other() const { return size_t{chunks_} * (kChunk * sizeof(VectorId) + sizeof(NodeId) + sizeof(Path) + sizeof(ChunkState)); }
  size_t bytes_access() const;

 private:
  static constexpr uint32_t kSegment = 32768;  // slots
  static constexpr uint32_t kSegmentChunks = kSegment / kChunk;

  struct ChunkState {
    uint16_t live = 0, waiting = 0;
    bool orphan = false;
  };
  struct Segment {
    Pages rows, rests;
    VectorId ids[kSegment];
    NodeId leaves[kSegmentChunks];
    Path paths[kSegmentChunks];
    ChunkState state[kSegmentChunks];
    AccessSets access[kSegmentChunks];
  };

  const Segment& segment(Slot slot) const { return segments_[slot / kSegment]; }
  Segment& segment(Slot slot) { return segments_[slot / kSegment]; }
  ChunkState& chunk_state(uint32_t chunk) { return segments_[chunk / kSegmentChunks].state[chunk % kSegmentChunks]; }
  const ChunkState& chunk_state(uint32_t chunk) const { return segments_[chunk / kSegmentChunks].state[chunk % kSegmentChunks]; }
  void encode(Slot slot, const float* vector, const float* reference);
  size_t dense_from(size_t slot, size_t most) const;

  const Options options_;
  const Codec& codec_;
  const uint32_t row_bytes_, head_bytes_, rest_bytes_;
  Segmented<Segment, 1, (size_t{1} << 32) / kSegment> segments_;
  // Heads have larger segments, for the sake of large pages: a scan of a large tenant touches heads all over the index.
  const Pages head_segments_;       // addresses; what is not there yet is zero
  std::byte** const heads_;
  std::vector<Pages> head_pages_;
  uint32_t chunks_ = 0;
  size_t expected_ = 0;
  std::vector<uint32_t> free_chunks_;
};

}  // namespace curator
