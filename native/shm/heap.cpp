#include "shm/heap.h"

#include <algorithm>
#include <bit>

#include "base/assert.h"

namespace mrpc::shm {
namespace {

constexpr uint64_t kPage = abi::kPage;
constexpr uint32_t kLinearClasses = 8;  // 64, 128, ... 512; then four a doubling

uint32_t class_of(uint64_t bytes) {
  if (bytes <= 512) return static_cast<uint32_t>((bytes + 63) / 64 - 1);
  const uint32_t doubling = std::bit_width(bytes - 1) - 1;  // 2^doubling < bytes <= 2^(doubling+1)
  const uint32_t quarter = static_cast<uint32_t>((bytes - 1) >> (doubling - 2)) & 3;
  return kLinearClasses + (doubling - 9) * 4 + quarter;
}

uint32_t class_bytes(uint32_t size_class) {
  if (size_class < kLinearClasses) return (size_class + 1) * 64;
  const uint32_t doubling = 9 + (size_class - kLinearClasses) / 4;
  const uint32_t quarter = (size_class - kLinearClasses) % 4;
  return (5 + quarter) << (doubling - 2);
}

// Small spans keep lightly used heaps small; larger objects get eight a span or more.
uint32_t span_pages(uint32_t object_bytes) { return object_bytes <= 8192 ? 16 : 128; }

}  // namespace

void Heap::Runs::insert(uint32_t first, uint32_t pages) {
  auto after = by_place.lower_bound({first, 0});
  if (after != by_place.end() && after->first == first + pages) {
    const auto [next_first, next_pages] = *after;
    erase(next_first, next_pages);
    pages += next_pages;
    after = by_place.lower_bound({first, 0});
  }
  if (after != by_place.begin()) {
    const auto [previous_first, previous_pages] = *std::prev(after);
    if (previous_first + previous_pages == first) {
      erase(previous_first, previous_pages);
      first = previous_first;
      pages += previous_pages;
    }
  }
  by_place.emplace(first, pages);
  by_size.emplace(pages, first);
}

void Heap::Runs::erase(uint32_t first, uint32_t pages) {
  by_place.erase({first, pages});
  by_size.erase({pages, first});
}

std::optional<uint32_t> Heap::Runs::take(uint32_t pages) {
  const auto best = by_size.lower_bound({pages, 0});
  if (best == by_size.end()) return std::nullopt;
  const auto [run_pages, first] = *best;
  erase(first, run_pages);
  if (run_pages > pages) insert(first + pages, run_pages - pages);
  return first;
}

Heap::Heap(uint64_t region_bytes, uint64_t quota_bytes, PunchFn punch, uint64_t warm_bytes)
    : quota_bytes_(quota_bytes),
      warm_bytes_(warm_bytes),
      punch_(std::move(punch)),
      page_count_(static_cast<uint32_t>(region_bytes / kPage)),
      page_span_(static_cast<uint32_t*>(std::calloc(page_count_, sizeof(uint32_t))), &std::free),
      spans_(1) {
  MRPC_ASSERT(region_bytes % kPage == 0 && page_count_ > 1 && page_span_ != nullptr);
  MRPC_ASSERT(class_bytes(kClasses - 1) == kSmallMax);
  cold_.insert(1, page_count_ - 1);
}

std::optional<uint64_t> Heap::allocate(uint64_t bytes) {
  if (bytes == 0) return std::nullopt;
  return bytes <= kSmallMax ? allocate_small(class_of(bytes)) : allocate_large(bytes);
}

std::optional<uint64_t> Heap::allocate_small(uint32_t size_class) {
  uint32_t id = with_room_[size_class];
  if (id == kNone) {
    const uint32_t object_bytes = class_bytes(size_class);
    id = new_span(span_pages(object_bytes));
    if (id == kNone) return std::nullopt;
    Span& span = spans_[id];
    span.object_bytes = object_bytes;
    span.size_class = static_cast<uint8_t>(size_class);
    span.objects = static_cast<uint16_t>(span.pages * kPage / object_bytes);
    span.used = span.first_word = 0;
    for (uint32_t i = 0; i < span.free_bits.size(); ++i) {
      const uint32_t left = span.objects > i * 64 ? span.objects - i * 64 : 0;
      span.free_bits[i] = left >= 64 ? ~0ull : (1ull << left) - 1;
    }
    link(id);
  }
  Span& span = spans_[id];
  while (span.free_bits[span.first_word] == 0) ++span.first_word;
  const uint32_t object = span.first_word * 64u + static_cast<uint32_t>(std::countr_zero(span.free_bits[span.first_word]));
  span.free_bits[span.first_word] &= span.free_bits[span.first_word] - 1;
  if (span.used == 0 && spare_[size_class] == id) spare_[size_class] = kNone;
  if (++span.used == span.objects) unlink(id);
  bytes_in_use_ += span.object_bytes;
  return span.first_page * kPage + uint64_t{object} * span.object_bytes;
}

std::optional<uint64_t> Heap::allocate_large(uint64_t bytes) {
  if (bytes > uint64_t{page_count_} * kPage) return std::nullopt;
  const uint32_t id = new_span(static_cast<uint32_t>((bytes + kPage - 1) / kPage));
  if (id == kNone) return std::nullopt;
  Span& span = spans_[id];
  span.object_bytes = 0;
  bytes_in_use_ += span.pages * kPage;
  return span.first_page * kPage;
}

uint32_t Heap::new_span(uint32_t pages) {
  const auto fits = [&] { return bytes_reserved_ + pages * kPage <= quota_bytes_; };
  if (!fits() && !(drop_spares() && fits())) return kNone;
  auto first = take_pages(pages);
  if (!first && drop_spares()) first = take_pages(pages);
  return first ? place_span(*first, pages) : kNone;
}

uint32_t Heap::place_span(uint32_t first, uint32_t pages) {
  uint32_t id;
  if (free_span_ids_.empty()) {
    id = static_cast<uint32_t>(spans_.size());
    spans_.emplace_back();
  } else {
    id = free_span_ids_.back();
    free_span_ids_.pop_back();
  }
  spans_[id].first_page = first;
  spans_[id].pages = pages;
  for (uint32_t page = first; page < first + pages; ++page) page_span_[page] = id;
  bytes_reserved_ += pages * kPage;
  return id;
}

std::optional<uint32_t> Heap::take_pages(uint32_t pages) {
  if (const auto first = warm_.take(pages)) {
    warm_free_ -= pages * kPage;
    return first;
  }
  if (const auto first = cold_.take(pages)) return first;
  if (warm_free_ == 0) return std::nullopt;
  trim(0);  // the room is there, but in pieces of both kinds
  return cold_.take(pages);
}

void Heap::drop_span(uint32_t id) {
  Span& span = spans_[id];
  for (uint32_t page = span.first_page; page < span.first_page + span.pages; ++page) page_span_[page] = kNone;
  warm_.insert(span.first_page, span.pages);
  warm_free_ += span.pages * kPage;
  bytes_reserved_ -= span.pages * kPage;
  free_span_ids_.push_back(id);
}

void Heap::link(uint32_t id) {
  Span& span = spans_[id];
  uint32_t& head = with_room_[span.size_class];
  span.previous = kNone;
  span.next = head;
  if (head != kNone) spans_[head].previous = id;
  head = id;
}

void Heap::unlink(uint32_t id) {
  Span& span = spans_[id];
  if (span.previous != kNone) spans_[span.previous].next = span.next;
  else with_room_[span.size_class] = span.next;
  if (span.next != kNone) spans_[span.next].previous = span.previous;
}

std::optional<Heap::Located> Heap::locate(uint64_t offset) const {
  if (offset / kPage >= page_count_) return std::nullopt;
  const uint32_t id = page_span_[offset / kPage];
  if (id == kNone) return std::nullopt;
  const Span& span = spans_[id];
  const uint64_t start = span.first_page * kPage;
  if (span.object_bytes == 0) return Located{id, 0, {start, span.pages * kPage}};
  const auto object = static_cast<uint32_t>((offset - start) / span.object_bytes);
  if (object >= span.objects || (span.free_bits[object / 64] >> (object % 64) & 1) != 0) return std::nullopt;
  return Located{id, object, {start + uint64_t{object} * span.object_bytes, span.object_bytes}};
}

bool Heap::free(uint64_t offset) {
  const auto at = locate(offset);
  if (!at || at->range.offset != offset) return false;
  bytes_in_use_ -= at->range.bytes;
  if (spans_[at->span].object_bytes == 0) drop_span(at->span);
  else free_object(*at);
  return true;
}

void Heap::free_object(const Located& at) {
  Span& span = spans_[at.span];
  span.free_bits[at.object / 64] |= 1ull << (at.object % 64);
  span.first_word = std::min<uint16_t>(span.first_word, static_cast<uint16_t>(at.object / 64));
  if (span.used-- == span.objects) link(at.span);
  if (span.used != 0) return;
  // One empty span of each class stays, or one object coming and going would make a span each time.
  uint32_t& spare = spare_[span.size_class];
  if (spare == kNone) {
    spare = at.span;
    return;
  }
  unlink(at.span);
  drop_span(at.span);
}

bool Heap::drop_spares() {
  bool any = false;
  for (uint32_t& spare : spare_) {
    if (spare == kNone) continue;
    unlink(spare);
    drop_span(std::exchange(spare, kNone));
    any = true;
  }
  return any;
}

std::optional<uint64_t> Heap::size_of(uint64_t offset) const {
  const auto at = locate(offset);
  if (!at || at->range.offset != offset) return std::nullopt;
  return at->range.bytes;
}

std::optional<Heap::Range> Heap::containing(uint64_t offset) const {
  const auto at = locate(offset);
  if (!at) return std::nullopt;
  return at->range;
}

std::vector<uint64_t> Heap::live_offsets() const {
  std::vector<uint64_t> offsets;
  for (uint32_t page = 0; page < page_count_;) {
    if (page_span_[page] == kNone) {
      ++page;
      continue;
    }
    const Span& span = spans_[page_span_[page]];
    const uint64_t start = uint64_t{page} * kPage;
    if (span.object_bytes == 0) offsets.push_back(start);
    for (uint32_t i = 0; span.object_bytes != 0 && i < span.objects; ++i)
      if ((span.free_bits[i / 64] >> (i % 64) & 1) == 0) offsets.push_back(start + uint64_t{i} * span.object_bytes);
    page += span.pages;
  }
  return offsets;
}

bool Heap::Runs::take_at(uint32_t first, uint32_t pages) {
  auto run = by_place.upper_bound({first, UINT32_MAX});
  if (run == by_place.begin() || pages == 0) return false;
  const auto [run_first, run_pages] = *std::prev(run);
  if (first - run_first >= run_pages || pages > run_pages - (first - run_first)) return false;
  erase(run_first, run_pages);
  if (first > run_first) insert(run_first, first - run_first);
  const uint32_t behind = run_pages - (first - run_first) - pages;
  if (behind > 0) insert(first + pages, behind);
  return true;
}

Heap::Saved Heap::save() const {
  Saved saved;
  for (uint32_t page = 0; page < page_count_;) {
    if (page_span_[page] == kNone) {
      ++page;
      continue;
    }
    const Span& span = spans_[page_span_[page]];
    SavedSpan& out = saved.spans.emplace_back(SavedSpan{span.first_page, span.pages, span.object_bytes, {}});
    if (span.object_bytes != 0) out.free_bits.assign(span.free_bits.begin(), span.free_bits.begin() + (span.objects + 63) / 64);
    page += span.pages;
  }
  for (const auto& [first, pages] : warm_.by_place) saved.warm.push_back({first, pages});
  return saved;
}

bool Heap::restore(const Saved& saved) {
  MRPC_ASSERT(spans_.size() == 1 && warm_.by_size.empty());
  for (const SavedSpan& span : saved.spans)
    if (!restore_span(span)) return false;
  for (const SavedRun& run : saved.warm) {
    if (!cold_.take_at(run.first_page, run.pages)) return false;
    warm_.insert(run.first_page, run.pages);
    warm_free_ += run.pages * kPage;
  }
  return true;
}

bool Heap::restore_span(const SavedSpan& saved) {
  if (!cold_.take_at(saved.first_page, saved.pages)) return false;
  const uint32_t id = place_span(saved.first_page, saved.pages);
  Span& span = spans_[id];
  span.object_bytes = saved.object_bytes;
  if (saved.object_bytes == 0) {
    bytes_in_use_ += span.pages * kPage;
    return true;
  }
  if (saved.object_bytes > kSmallMax || class_bytes(class_of(saved.object_bytes)) != saved.object_bytes ||
      span.pages != span_pages(saved.object_bytes))
    return false;
  span.size_class = static_cast<uint8_t>(class_of(saved.object_bytes));
  span.objects = static_cast<uint16_t>(span.pages * kPage / span.object_bytes);
  if (saved.free_bits.size() != (span.objects + 63u) / 64) return false;
  span.free_bits.fill(0);
  span.first_word = 0;
  uint32_t free_objects = 0;
  for (uint32_t i = 0; i < saved.free_bits.size(); ++i) {
    const uint32_t left = span.objects - i * 64;
    const uint64_t real = left >= 64 ? ~0ull : (1ull << left) - 1;
    span.free_bits[i] = saved.free_bits[i] & real;
    free_objects += static_cast<uint32_t>(std::popcount(span.free_bits[i]));
  }
  span.used = static_cast<uint16_t>(span.objects - free_objects);
  if (free_objects > 0) link(id);
  if (span.used == 0) {
    uint32_t& spare = spare_[span.size_class];
    if (spare != kNone) return false;  // a heap keeps one empty span of each class
    spare = id;
  }
  bytes_in_use_ += uint64_t{span.used} * span.object_bytes;
  return true;
}

void Heap::trim(uint64_t keep_bytes, uint64_t bytes_max) {
  std::vector<Range> punched;
  for (uint64_t bytes = 0; warm_free_ > keep_bytes && bytes < bytes_max && !warm_.by_size.empty();) {
    const auto [run_pages, first] = *warm_.by_size.rbegin();  // the largest: fewest system calls
    const uint64_t wanted = (std::min(warm_free_ - keep_bytes, bytes_max - bytes) + kPage - 1) / kPage;
    const auto pages = static_cast<uint32_t>(std::min<uint64_t>(run_pages, wanted));
    warm_.erase(first, run_pages);
    if (pages < run_pages) warm_.insert(first, run_pages - pages);
    punched.push_back({(first + run_pages - pages) * kPage, pages * kPage});
    warm_free_ -= pages * kPage;
    bytes += pages * kPage;
  }
  if (punched.empty()) return;
  if (punch_) punch_(punched);
  for (const Range& range : punched)
    cold_.insert(static_cast<uint32_t>(range.offset / kPage), static_cast<uint32_t>(range.bytes / kPage));
}

}  // namespace mrpc::shm
