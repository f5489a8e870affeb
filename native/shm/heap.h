// The allocator over a heap region: for the application its send heap, for the daemon a receive heap. All metadata is private; the
// region's memory itself is never read or written here. Not thread-safe.
//
// Up to kSmallMax: size classes in spans (runs of pages cut into equal objects, a bitmap each). Above: runs of whole pages, best fit. Free
// runs are either warm (touched, backed by memory) or cold (never touched, or punched); warm ones are used first and are
// given back beyond `warm_bytes` by trim(). The two kinds are never merged with each other, unless nothing else fits.
//
// The quota counts pages, not objects: one small object left in each span costs its holder what it costs the host.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "shm/abi.h"

namespace mrpc::shm {

class Heap {
 public:
  struct Range {
    uint64_t offset, bytes;
  };
  // Gives the pages of some ranges back to the system (punch_hole).
  using PunchFn = std::function<void(std::span<const Range>)>;

  static constexpr uint64_t kAlign = 64;
  static constexpr uint64_t kSmallMax = 64 * 1024;
  static constexpr uint64_t kWarmBytes = 64ull << 20;
  static constexpr uint64_t kTrimSlackBytes = 8ull << 20;  // so that holes are punched in batches

  // `region_bytes`: a multiple of kPage. Offset 0 is never handed out.
  Heap(uint64_t region_bytes, uint64_t quota_bytes, PunchFn punch, uint64_t warm_bytes = kWarmBytes);

  // A multiple of kAlign, or none when the quota or the region is exhausted, or for 0 bytes.
  std::optional<uint64_t> allocate(uint64_t bytes);
  // False when no live allocation starts at `offset`, which may be any value.
  bool free(uint64_t offset);

  bool is_live(uint64_t offset) const { return size_of(offset).has_value(); }
  // Usable bytes of the live allocation that starts at `offset`.
  std::optional<uint64_t> size_of(uint64_t offset) const;
  // The live allocation that holds the byte at `offset`.
  std::optional<Range> containing(uint64_t offset) const;

  // Where every live allocation starts; walks the whole region's page table.
  std::vector<uint64_t> live_offsets() const;

  // What is allocated and what is warm, for a successor process; restore() only into a heap that was never used. False: a state
  // that cannot be; the heap is then of no use.
  struct SavedSpan {
    uint32_t first_page = 0, pages = 0, object_bytes = 0;  // object_bytes 0: one large allocation
    std::vector<uint64_t> free_bits{};                     // of objects
  };
  struct SavedRun {
    uint32_t first_page = 0, pages = 0;
  };
  struct Saved {
    std::vector<SavedSpan> spans{};
    std::vector<SavedRun> warm{};
  };
  Saved save() const;
  bool restore(const Saved& saved);

  uint64_t quota_bytes() const { return quota_bytes_; }
  uint64_t bytes_in_use() const { return bytes_in_use_; }                   // of live allocations, as rounded
  uint64_t bytes_reserved() const { return bytes_reserved_; }               // pages of spans and large runs: what the quota counts
  uint64_t bytes_committed() const { return bytes_reserved_ + warm_free_; }  // of memory that may be backed

  bool wants_trim() const { return warm_free_ > warm_bytes_ + kTrimSlackBytes; }
  uint64_t warm_bytes() const { return warm_free_; }
  // Punches warm free runs until `keep_bytes` of them are left, or about `bytes_max` were punched.
  void trim(uint64_t keep_bytes, uint64_t bytes_max = UINT64_MAX);
  uint64_t warm_limit_bytes() const { return warm_bytes_; }

 private:
  static constexpr uint32_t kNone = 0;  // page_span_: free; span ids start from 1
  static constexpr uint32_t kClasses = 36;
  static constexpr uint32_t kObjectsMax = 1024;

  struct Span {
    uint32_t first_page = 0, pages = 0;
    uint32_t object_bytes = 0;  // 0: one large allocation
    uint16_t objects = 0, used = 0;
    uint16_t first_word = 0;  // no free bit below it
    uint8_t size_class = 0;
    uint32_t previous = 0, next = 0;  // among the spans of its class that have room
    std::array<uint64_t, kObjectsMax / 64> free_bits{};
  };

  // Free runs of one kind: by size, and by both ends for coalescing.
  struct Runs {
    std::set<std::pair<uint32_t, uint32_t>> by_size;  // {pages, first page}
    std::set<std::pair<uint32_t, uint32_t>> by_place;  // {first page, pages}
    void insert(uint32_t first, uint32_t pages);
    void erase(uint32_t first, uint32_t pages);
    std::optional<uint32_t> take(uint32_t pages);  // best fit
    bool take_at(uint32_t first, uint32_t pages);  // exactly these; false: they are not all free
  };

  struct Located {
    uint32_t span;
    uint32_t object;  // within it
    Range range;
  };
  std::optional<Located> locate(uint64_t offset) const;

  std::optional<uint64_t> allocate_small(uint32_t size_class);
  std::optional<uint64_t> allocate_large(uint64_t bytes);
  bool restore_span(const SavedSpan& saved);
  uint32_t new_span(uint32_t pages);  // kNone when there is no room
  uint32_t place_span(uint32_t first, uint32_t pages);
  void drop_span(uint32_t id);
  bool drop_spares();  // false: there were none
  std::optional<uint32_t> take_pages(uint32_t pages);
  void link(uint32_t id);
  void unlink(uint32_t id);
  void free_object(const Located& at);

  uint64_t quota_bytes_, warm_bytes_;
  PunchFn punch_;
  uint32_t page_count_;
  // calloc: touched only where used, as a heap of 1 GiB has 1 MiB of it.
  std::unique_ptr<uint32_t[], decltype(&std::free)> page_span_;
  std::vector<Span> spans_;
  std::vector<uint32_t> free_span_ids_;
  std::array<uint32_t, kClasses> with_room_{};  // heads of lists
  std::array<uint32_t, kClasses> spare_{};      // an empty span of each class, also in the list
  Runs warm_, cold_;
  uint64_t bytes_in_use_ = 0, bytes_reserved_ = 0, warm_free_ = 0;
};

}  // namespace mrpc::shm
