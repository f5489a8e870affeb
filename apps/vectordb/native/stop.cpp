#include "stop.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <span>

#include "index.h"
#include "simd/kernels.h"
#include "walk.h"

namespace curator {
namespace {

constexpr uint64_t kSmallest = 256;           // tenants below this are looked at whole
constexpr size_t kClasses = 16, kTenants = 64, kQueries = 240;   // at most, of a class; queries of either case
constexpr float kFresh = 0.85f;               // fresh queries miss more than the index's own vectors: so much less may be missed by those
constexpr uint64_t kLessonMin = 2048;         // pairs of a tenant and a vector: twice as many are the first that teach
constexpr uint64_t kVectors = 3'000'000;      // of a class: passed by the walks that teach it

}  // namespace

// All that is learnt at one time, in pieces: between two of them nothing is held of the index, which may change.
class Lesson {
 public:
  // Nothing: a writer is at work, and is not to be waited for.
  static std::unique_ptr<Lesson> begin(const Index& index, bool wait);
  uint64_t pairs() const { return pairs_; }  // of a tenant and a vector, when it began
  bool go_on(uint64_t vectors);              // passes about so many; false: it has ended
  Stop result() { return std::move(stop_); }

 private:
  explicit Lesson(const Index& index) : index_(index), pairs_(index.pairs()), random_(index.options().seed), query_(index.options().dim) {}
  void begin_class();
  void end_case();
  const Part* root(TenantId id) const;
  Slot draw(TenantId id);
  uint64_t ask(TenantId tenant, Slot query);

  const Index& index_;
  const uint64_t pairs_;
  std::mt19937_64 random_;
  std::vector<TenantId> everyone_;
  std::array<std::vector<TenantId>, kClasses> by_size_;
  Stop stop_;
  size_t class_ = 0;                           // of by_size_: the one at work
  bool related_ = true;                        // the case of it
  uint64_t queries_ = 0, asked_ = 0;           // of this case
  Stop::SizeClass learnt_{};                   // of this class
  Walk walk_;
  std::vector<float> query_, distances_;
  std::vector<const std::byte*> rows_;
  std::vector<std::pair<float, float>> seen_;  // distance, vectors passed before
  std::array<std::vector<float>, Stop::kNearest.size()> passed_;
};

std::unique_ptr<Lesson> Lesson::begin(const Index& index, bool wait) {
  std::unique_ptr<Lesson> lesson(new Lesson(index));
  const bool looked = index.each_tenant(wait, [&](const Tenant& tenant) {
    const uint64_t visible = tenant.count;
    if (tenant.unloaded || visible == 0) return;
    lesson->everyone_.push_back(tenant.id);
    if (visible < kSmallest) return;
    lesson->by_size_[std::min<size_t>(kClasses - 1, static_cast<size_t>(std::bit_width(visible / kSmallest) - 1))].push_back(tenant.id);
  });
  return looked ? std::move(lesson) : nullptr;
}

bool Lesson::go_on(uint64_t vectors) {
  for (uint64_t passed = 0; class_ < kClasses;) {
    if (by_size_[class_].empty()) {
      ++class_;
      continue;
    }
    if (passed >= vectors) return true;
    const Epochs::Guard guard = index_.read();
    if (related_ && asked_ == 0) begin_class();
    const auto& tenants = by_size_[class_];
    const TenantId tenant = tenants[random_() % tenants.size()];
    passed += ask(tenant, draw(related_ ? tenant : everyone_[random_() % everyone_.size()]));
    if (++asked_ == queries_) end_case();
  }
  return false;
}

void Lesson::begin_class() {
  auto& tenants = by_size_[class_];
  std::shuffle(tenants.begin(), tenants.end(), random_);
  tenants.resize(std::min(tenants.size(), kTenants));
  learnt_ = {};
  for (const TenantId tenant : tenants) {
    const Part* root = this->root(tenant);
    if (root != nullptr) learnt_.visible += static_cast<float>(root->count) / static_cast<float>(tenants.size());
  }
  queries_ = std::clamp<uint64_t>(kVectors / 2 / static_cast<uint64_t>(learnt_.visible + 1), 24, kQueries);
}

void Lesson::end_case() {
  for (size_t i = 0; i < passed_.size(); ++i) {
    std::sort(passed_[i].begin(), passed_[i].end());
    for (size_t r = 0; r < Stop::kRecalls.size() && !passed_[i].empty(); ++r) {
      const float at = Stop::kRecalls[r] * static_cast<float>(passed_[i].size() - 1);
      learnt_.budgets[i][r] = std::max(learnt_.budgets[i][r], passed_[i][static_cast<size_t>(std::ceil(at))]);
    }
    passed_[i].clear();
  }
  asked_ = 0;
  related_ = !related_;
  if (!related_) return;
  stop_.classes_.push_back(learnt_);
  ++class_;
}

const Part* Lesson::root(TenantId id) const {
  const Tenant* tenant = index_.tenant(id);
  return tenant == nullptr || tenant->unloaded ? nullptr : index_.root(*tenant);
}

// A vector that the tenant sees.
Slot Lesson::draw(TenantId id) {
  const Part* part = root(id);
  if (part == nullptr) return kNone;
  auto at = static_cast<uint32_t>(random_() % part->count);
  while (!part->is_list()) {
    for (const Child& child : part->parts()) {
      part = child.part;
      if (at < child.count) break;
      at -= child.count;
    }
  }
  return part->list()[at];
}

// Walks all of the tenant, and notes where the vectors nearest to the query came; how many it passed.
uint64_t Lesson::ask(TenantId tenant, Slot query) {
  const Part* root = this->root(tenant);
  if (root == nullptr || query == kNone) return 0;
  const Options& options = index_.options();
  index_.store().load(query, query_.data());
  const bool half = options.element == Element::kFloat16, product = options.metric == Metric::kInnerProduct;
  const Kernels& k = kernels();
  const RowsKernel kernel = product ? (half ? k.product_half : k.product) : half ? k.squared_half : k.squared;
  seen_.clear();
  walk_.start(index_, query_.data(), {&root, 1});
  for (Shortlist list = walk_.next(); list.part != nullptr; list = walk_.next()) {
    const auto passed = static_cast<float>(seen_.size());
    rows_.clear();
    for (const Slot slot : list.part->list()) rows_.push_back(index_.store().row(slot));
    distances_.resize(rows_.size());
    kernel(query_.data(), rows_.data(), rows_.size(), options.dim, distances_.data());
    for (size_t i = 0; i < rows_.size(); ++i) {
      if (list.part->list()[i] != query) seen_.emplace_back(product ? -distances_[i] : distances_[i], passed + 1);
    }
  }
  for (size_t i = 0; i < Stop::kNearest.size(); ++i) {
    const size_t nearest = std::min<size_t>(Stop::kNearest[i], seen_.size());
    std::nth_element(seen_.begin(), seen_.begin() + static_cast<std::ptrdiff_t>(nearest), seen_.end());
    for (size_t j = 0; j < nearest; ++j) passed_[i].push_back(seen_[j].second);
  }
  return seen_.size();
}

uint64_t Stop::budget(uint64_t visible, uint64_t k, float recall) const {
  if (classes_.empty() || visible < kSmallest || recall >= 1) return visible;
  recall = 1 - kFresh * (1 - recall);
  const auto between = [](float x, float x0, float y0, float x1, float y1) {
    return x <= x0 ? y0 : x >= x1 ? y1 : y0 + (y1 - y0) * (x - x0) / (x1 - x0);
  };
  const size_t r = std::clamp<size_t>(static_cast<size_t>(std::lower_bound(kRecalls.begin(), kRecalls.end(), recall) - kRecalls.begin()), 1, kRecalls.size() - 1);
  const float log_k = std::log(static_cast<float>(k)), log_10 = std::log(10.0f), log_100 = std::log(100.0f);
  const auto of_class = [&](const SizeClass& one) {
    std::array<float, kNearest.size()> by_k;
    for (size_t i = 0; i < by_k.size(); ++i) by_k[i] = between(recall, kRecalls[r - 1], one.budgets[i][r - 1], kRecalls[r], one.budgets[i][r]);
    const float more = static_cast<float>(k) > 100 ? static_cast<float>(k) / 100 : 1;
    return between(log_k, log_10, by_k[0], log_100, by_k[1]) * more;
  };
  const auto size = static_cast<float>(visible);
  const auto above = std::find_if(classes_.begin(), classes_.end(), [&](const SizeClass& one) { return one.visible >= size; });
  float budget = 0;
  if (above == classes_.end()) budget = of_class(classes_.back()) * size / classes_.back().visible;  // larger than all that taught: in proportion
  else if (above == classes_.begin()) budget = of_class(*above);
  else budget = between(size, above[-1].visible, of_class(above[-1]), above->visible, of_class(*above));
  return std::max<uint64_t>(static_cast<uint64_t>(budget), 2 * k);
}

std::string Stop::image() const {
  static_assert(std::is_trivially_copyable_v<SizeClass> && sizeof(SizeClass) % sizeof(float) == 0);
  return {reinterpret_cast<const char*>(classes_.data()), classes_.size() * sizeof(SizeClass)};
}

std::optional<Stop> Stop::from_image(std::string_view image) {
  if (image.size() % sizeof(SizeClass) != 0 || image.size() / sizeof(SizeClass) > kClasses) return std::nullopt;
  std::vector<float> numbers(image.size() / sizeof(float));
  if (!image.empty()) std::memcpy(numbers.data(), image.data(), image.size());
  if (!std::all_of(numbers.begin(), numbers.end(), [](float number) { return number >= 0 && number <= 4e9f; })) return std::nullopt;
  Stop stop;
  stop.classes_.resize(image.size() / sizeof(SizeClass));
  if (!image.empty()) std::memcpy(stop.classes_.data(), image.data(), image.size());
  const bool ascending = std::is_sorted(stop.classes_.begin(), stop.classes_.end(), [](auto& a, auto& b) { return a.visible < b.visible; });
  return ascending ? std::optional(std::move(stop)) : std::nullopt;
}

Stops::Stops() { put({}); }

Stops::~Stops() = default;

void Stops::restore(Stop stop, const Index& index) {
  learnt_from_ = stop.empty() ? 0 : index.pairs();
  put(std::move(stop));
}

bool Stops::due(const Index& index) const {
  const uint64_t pairs = index.pairs(), before = learnt_from_;
  return pairs >= 2 * std::max<uint64_t>(before, kLessonMin) || (before > 0 && 2 * pairs <= before);
}

void Stops::put(Stop stop) {
  all_.push_back(std::make_unique<const Stop>(std::move(stop)));
  now_.store(all_.back().get(), std::memory_order_release);
}

bool Stops::learn(const Index& index, uint64_t vectors) {
  const std::unique_lock lock(learning_, std::try_to_lock);
  if (!lock) return true;
  if (lesson_ == nullptr) {
    if (!due(index)) return false;
    lesson_ = Lesson::begin(index, vectors == kAll);
  }
  if (lesson_ != nullptr) go_on(vectors);
  return lesson_ != nullptr || due(index);
}

void Stops::learn_now(const Index& index) {
  const std::lock_guard lock(learning_);
  lesson_ = Lesson::begin(index, true);
  go_on(kAll);
}

void Stops::go_on(uint64_t vectors) {
  if (lesson_->go_on(vectors)) return;
  put(lesson_->result());
  learnt_from_ = lesson_->pairs();
  lesson_.reset();
}

}  // namespace curator
