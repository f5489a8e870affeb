#include "search.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "pool.h"
#include "simd/kernels.h"
#include "stop.h"
#include "walk.h"

namespace curator {
namespace {

constexpr size_t kFew = 24;  // so many are measured as fast as estimated and measured in part
constexpr float kWalkOverScan = 1.5f;  // a walk's time for each look over a whole scan's; anything from 1.5 to 3 is as good (decision 021)
constexpr float kHeadDoubt = 3.5f, kScanDoubt = 1.2f;  // standard deviations by which a head may be off; the less, the more is missed
constexpr float kMissesRecall = 0.98f;  // up to which a scan may miss what kScanDoubt does: up to 0.02 of the nearest
constexpr size_t kListsAhead = 4;  // fetched
constexpr size_t kBatch = 256;      // codes, after which the bar may be lower
constexpr size_t kFirst = 32;       // at least so many of the best heads set the first bar

bool nearer(const Hit& a, const Hit& b) { return std::tie(a.distance, a.id) < std::tie(b.distance, b.id); }

// Each root once, and none that holds nothing.
void keep_distinct(std::vector<const Part*>& roots) {
  auto end = roots.begin();
  for (const Part* root : roots) {
    if (root != nullptr && std::find(roots.begin(), end, root) == end) *end++ = root;
  }
  roots.erase(end, roots.end());
}

// As far as it can be told from here: a long one is no list, as a rule, and then its children are few.
void fetch(const Child& child) {
  constexpr uint32_t kLine = 64, kLines = 6;
  const auto* const at = reinterpret_cast<const std::byte*>(child.part);
  const uint32_t lines = std::min(kLines, 1 + static_cast<uint32_t>((sizeof(Part) + child.count * sizeof(Slot)) / kLine));
  for (uint32_t line = 0; line < lines; ++line) __builtin_prefetch(at + line * kLine);
}

// What a look below the part begins with.
void fetch_below(const Part& part) {
  const auto children = part.parts();
  for (const Child& child : children.first(std::min(kListsAhead, children.size()))) fetch(child);
}

// One search. Kept by its thread, so that the next one finds its memory allocated.
class Run {
 public:
  std::vector<Hit> go(const Index& index, const Ask& ask, std::span<const Part* const> roots);
  std::vector<float> query;
  std::vector<const Part*> roots;

 private:
  std::vector<Hit> measure_all();
  std::vector<Hit> measure(std::span<const Slot> slots);
  void look_as_learnt(float recall, size_t k);
  void walk(std::span<const Part* const> roots, uint64_t budget, uint32_t patience);
  void gather_all(const Part& root);
  void gather_below(const Part& part, float base);
  void gather(std::span<const Slot> slots, float base);
  void gather(const Shortlist& list);
  float reference(NodeId node);
  bool estimate();
  bool look(std::span<const uint32_t> places);

  const Index* index_ = nullptr;
  size_t k_ = 0;
  std::span<const Part* const> roots_;
  Walk walk_;
  Pool pool_;
  float doubt_ = kHeadDoubt;
  CodeQuery coded_;
  std::vector<std::pair<NodeId, float>> references_;  // whose bases are known
  std::vector<Slot> slots_;                           // gathered, with their bases
  std::vector<float> bases_;
  std::vector<uint32_t> ends_;                        // of runs of equal bases
  std::vector<float> head_estimates_, head_doubts_;   // of slots_
  std::vector<uint32_t> kept_;                        // places in slots_ that may be near
  std::vector<uint32_t> looked_;                      // a batch of them
  std::vector<CodeAt> codes_;
  std::vector<float> kept_bases_, estimates_, doubts_;
  std::vector<const std::byte*> rows_;
  std::vector<float> distances_;
};

std::vector<Hit> Run::go(const Index& index, const Ask& ask, std::span<const Part* const> roots) {
  index_ = &index;
  roots_ = roots;
  uint64_t visible = 0;
  for (const Part* root : roots) visible += root->count;
  k_ = std::min<uint64_t>(ask.k, visible);
  if (ask.exact || visible <= std::max<size_t>(kFew, k_) || (ask.budget > 0 && ask.budget >= visible)) return measure_all();
  pool_.start(k_, roots.size() > 1);
  doubt_ = kHeadDoubt;
  index.codec().prepare(query.data(), coded_);
  walk_.start(index, query.data(), roots);
  references_.clear();
  slots_.clear();
  bases_.clear();
  ends_.clear();
  if (ask.budget == 0 && ask.patience == 0) {
    look_as_learnt(ask.recall > 0 ? ask.recall : index.options().recall, ask.k);
  } else {
    walk(roots, ask.budget > 0 ? ask.budget : visible, ask.patience);
  }
  estimate();
  if (!pool_.full()) return measure_all();  // tenants that share vectors: fewer than were counted
  for (const Pool::Candidate& candidate : pool_.finish()) slots_.push_back(candidate.slot);
  return measure(slots_);
}

// Each tenant by itself: in one walk through several trees the lists of the finer one would come first. A walk takes longer for each look, and
// where it would not be quicker a tenant is looked at whole; heads may then miss a part of what a walk would.
void Run::look_as_learnt(float recall, size_t k) {
  bool may_miss = recall <= kMissesRecall;
  for (const Part* const& root : roots_) {
    const uint64_t budget = index_->stops().budget(root->count, k, recall);
    const bool scan = kWalkOverScan * static_cast<float>(budget) >= static_cast<float>(root->count);
    if (scan) gather_all(*root);
    else walk({&root, 1}, budget, 0);
    may_miss = may_miss && scan && budget < root->count && !root->is_list();
  }
  if (may_miss) doubt_ = kScanDoubt;
}

// Without patience no list depends on what was found in another. Codes are then estimated in one go, at the end: short lists, one by one, would
// leave the kernel no time to fetch what comes next.
void Run::walk(std::span<const Part* const> roots, uint64_t budget, uint32_t patience) {
  walk_.start(*index_, query.data(), roots);
  uint64_t seen = 0;
  uint32_t idle = 0;
  for (Shortlist list = walk_.next(); list.part != nullptr; list = walk_.next()) {
    gather(list);
    seen += list.part->count;
    if (patience > 0) {
      idle = estimate() ? 0 : idle + 1;
      if (idle >= patience && pool_.full()) break;
    }
    if (seen >= budget && seen >= k_) break;
  }
}

// Without a heap, and what lies together is read together. The nearest reference comes first: the bar that it gives spares others a look.
void Run::gather_all(const Part& root) {
  if (root.is_list()) return gather({&root, 0, true});
  const auto children = root.parts();
  NodeId nodes[kFanoutMax];
  float distances[kFanoutMax];
  uint32_t order[kFanoutMax];
  for (uint32_t i = 0; i < children.size(); ++i) {
    fetch(children[i]);
    nodes[i] = children[i].node;
    order[i] = i;
  }
  walk_.measure({nodes, children.size()}, distances);
  std::sort(order, order + children.size(), [&](uint32_t a, uint32_t b) { return distances[a] < distances[b]; });
  for (size_t at = 0; at < children.size(); ++at) {
    if (at + 1 < children.size()) fetch_below(*children[order[at + 1]].part);
    gather_below(*children[order[at]].part, coded_.base(distances[order[at]]));
  }
}

void Run::gather_below(const Part& part, float base) {
  if (part.is_list()) return gather(part.list(), base);
  const auto children = part.parts();
  fetch_below(part);
  for (size_t i = 0; i < children.size(); ++i) {
    if (i + kListsAhead < children.size()) fetch(children[i + kListsAhead]);
    gather_below(*children[i].part, base);
  }
}

void Run::gather(const Shortlist& list) {
  const std::span<const Slot> slots = list.part->list();
  if (!list.mixed) return gather(slots, coded_.base(list.reference));
  for (const Slot& slot : slots) gather({&slot, 1}, reference(index_->tree().node(index_->store().leaf(slot)).reference));
}

void Run::gather(std::span<const Slot> slots, float base) {
  if (bases_.empty() || bases_.back() != base) ends_.push_back(0);
  slots_.insert(slots_.end(), slots.begin(), slots.end());
  bases_.resize(slots_.size(), base);
  ends_.back() = static_cast<uint32_t>(slots_.size());
}

// The base of the codes of a reference.
float Run::reference(NodeId node) {
  if (references_.empty() || references_.back().first != node) {
    for (const auto& [known, base] : references_) {
      if (known == node) return base;
    }
    float distance;
    walk_.measure({&node, 1}, &distance);
    references_.emplace_back(node, coded_.base(distance));
  }
  return references_.back().second;
}

// What was gathered. Heads tell what may be below the bar, codes what is. The best heads come first: with the bar that they set, few others have to
// be looked at. True if something was among the k nearest so far.
bool Run::estimate() {
  const size_t count = slots_.size();
  head_estimates_.resize(count + kSpare);
  head_doubts_.resize(count + kSpare);
  if (count > 0) slots_.resize(count + kSpare, slots_.back());
  size_t first = 0;
  for (const uint32_t end : ends_) {
    coded_.sift(index_->store().heads(), &slots_[first], end - first, bases_[first], doubt_, &head_estimates_[first], &head_doubts_[first]);
    first = end;
  }
  bool improved = false;
  kept_.resize(count + kSpare);
  if (const size_t best = std::max(kFirst, (3 * k_ + 15) / 16 * 16); !pool_.full() && count > best) {
    std::fill_n(&head_estimates_[count], kSpare, std::numeric_limits<float>::max());
    kernels().least(head_estimates_.data(), count, best, kept_.data());
    improved = look({kept_.data(), best});
    for (const uint32_t place : std::span(kept_.data(), best)) head_estimates_[place] = std::numeric_limits<float>::max();
  }
  improved |= look({kept_.data(), kernels().below(head_estimates_.data(), head_doubts_.data(), count, pool_.bar(), kept_.data())});
  slots_.clear();
  bases_.clear();
  ends_.clear();
  return improved;
}

// At the codes in those places, but for what the bar has shut out since.
bool Run::look(std::span<const uint32_t> places) {
  bool improved = false;
  while (!places.empty()) {
    const std::span<const uint32_t> some = places.first(std::min(kBatch, places.size()));
    places = places.subspan(some.size());
    codes_.clear();
    kept_bases_.clear();
    looked_.clear();
    for (const uint32_t place : some) {
      if (Pool::beyond(head_estimates_[place], head_doubts_[place], pool_.bar())) continue;
      looked_.push_back(slots_[place]);
      codes_.push_back(index_->store().code(slots_[place]));
      kept_bases_.push_back(bases_[place]);
    }
    estimates_.resize(looked_.size());
    doubts_.resize(looked_.size());
    coded_.estimate(codes_.data(), kept_bases_.data(), looked_.size(), estimates_.data(), doubts_.data());
    for (size_t i = 0; i < looked_.size(); ++i) improved |= pool_.offer({estimates_[i], doubts_[i], looked_[i]});
  }
  return improved;
}

std::vector<Hit> Run::measure_all() {
  slots_.clear();
  for (const Part* root : roots_) each_list(root, [&](const Part& list) { slots_.insert(slots_.end(), list.list().begin(), list.list().end()); });
  if (roots_.size() > 1) {
    std::sort(slots_.begin(), slots_.end());
    slots_.erase(std::unique(slots_.begin(), slots_.end()), slots_.end());
  }
  return measure(slots_);
}

// The k nearest of the slots.
std::vector<Hit> Run::measure(std::span<const Slot> slots) {
  const Options& options = index_->options();
  const bool product = options.metric != Metric::kL2, half = options.element == Element::kFloat16;
  const RowsKernel kernel = product ? (half ? kernels().product_half : kernels().product) : half ? kernels().squared_half : kernels().squared;
  rows_.resize(slots.size());
  distances_.resize(slots.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    rows_[i] = index_->store().row(slots[i]);
    if (i < kFew) index_->store().fetch_id(slots[i]);
  }
  kernel(query.data(), rows_.data(), slots.size(), options.dim, distances_.data());
  std::vector<Hit> hits;
  for (size_t i = 0; i < slots.size(); ++i) {
    const float distance = options.metric == Metric::kL2 ? distances_[i] : (options.metric == Metric::kCosine ? 1 : 0) - distances_[i];
    if (hits.size() == k_ && distance > hits.front().distance) continue;
    hits.push_back({index_->store().id(slots[i]), distance});
    std::push_heap(hits.begin(), hits.end(), nearer);
    if (hits.size() > k_) std::pop_heap(hits.begin(), hits.end(), nearer), hits.pop_back();
  }
  std::sort_heap(hits.begin(), hits.end(), nearer);
  return hits;
}

}  // namespace

Status check_ask(const Ask& ask) {
  if (ask.k < 1 || ask.k > kResultsMax) return mrpc::invalid_argument("k must be from 1 to " + std::to_string(kResultsMax));
  if (!(ask.recall >= 0 && ask.recall <= 1)) return mrpc::invalid_argument("recall must be above 0 and at most 1");
  return mrpc::ok_status();
}

Result<std::vector<Hit>> search(const Index& index, const float* vector, const Ask& ask, std::span<const TenantId> tenants) {
  if (const Status good = check_ask(ask); !good) return good.error();
  thread_local const auto kept = std::make_unique<Run>();  // not itself: GCC would look up the thread's copy anew for every use of a member
  Run& run = *kept;
  run.query.resize(index.options().dim);
  if (const Status good = index.prepare_query(vector, run.query.data()); !good) return good.error();
  const Epochs::Guard guard = index.read();
  if (ask.where == nullptr) {
    if (const Status good = index.roots(tenants, run.roots); !good) return good.error();
    keep_distinct(run.roots);
    return run.go(index, ask, run.roots);
  }
  const auto within = ask.where->within(index, tenants);
  if (!within) return within.error();
  run.roots.clear();
  if ((*within)->root != nullptr) run.roots.push_back((*within)->root);
  return run.go(index, ask, run.roots);
}

Result<Found> search_many(const Index& index, const float* vectors, size_t count, const Ask& ask, std::span<const TenantId> tenants,
                          size_t threads) {
  if (const Status good = check_ask(ask); !good) return good.error();
  Found found(count, ask.k);
  std::mutex failing;
  std::optional<Error> failed;
  index.crew().each(count, threads, [&](size_t i) {
    const auto hits = search(index, vectors + i * index.options().dim, ask, tenants.size() == 1 ? tenants : tenants.subspan(i, 1));
    if (!hits) {
      const std::lock_guard lock(failing);
      failed = hits.error();
      return;
    }
    for (const Hit& hit : *hits) {
      const size_t at = i * ask.k + found.counts[i]++;
      found.ids[at] = hit.id, found.distances[at] = hit.distance;
    }
  });
  if (failed) return *failed;
  return found;
}

}  // namespace curator
