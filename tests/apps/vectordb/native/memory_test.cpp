// Memory that runs out at any allocation of a change. Sanitizers have allocators of their own, and would tell of what a half-done batch keeps.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <cstdlib>
#include <functional>
#include <new>

#include "fixture.h"
#include "search.h"

using namespace curator;
using namespace curator::test;

namespace {
thread_local size_t allocations_left = SIZE_MAX;  // until one fails
}

[[gnu::noinline]] void* operator new(size_t size) {
  if (allocations_left != SIZE_MAX && allocations_left-- == 0) throw std::bad_alloc();
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace {

// Runs the change with memory for so many allocations; whether that was enough.
bool run(const std::function<void()>& change, size_t allocations) {
  allocations_left = allocations;
  bool done = true;
  try {
    change();
  } catch (const std::bad_alloc&) {
    done = false;
  }
  allocations_left = SIZE_MAX;
  return done;
}

std::set<VectorId> found(const Index& index, std::vector<TenantId> tenants) {
  const std::vector<float> query(index.options().dim, 1.0f);
  const auto hits = search(index, query.data(), {.k = 1000}, tenants);
  REQUIRE(hits.ok());
  std::set<VectorId> ids;
  for (const Hit& hit : *hits) REQUIRE(ids.insert(hit.id).second);
  return ids;
}

}  // namespace

TEST_CASE("a change for which memory does not suffice leaves the index whole, or readers a whole batch and changes refused") {
  std::mt19937 random(5);
  const auto rows = random_rows(300, 4, random), others = random_rows(300, 4, random, 20);
  const auto ids = range(0, 200), more = range(200, 300), some = range(50, 120);
  const std::vector<TenantId> guests(some.size(), 2);
  using Change = std::function<Status(Index&)>;
  const auto plain = [](const auto& result) -> Status { return result.ok() ? mrpc::ok_status() : Status(result.error()); };
  const Change changes[] = {
      [&](Index& index) { return index.insert(more, rows.data(), std::vector<TenantId>(more.size(), 3)); },
      [&](Index& index) { return index.update(some, others.data()); },
      [&](Index& index) { return index.remove(some); },
      [&](Index& index) { return plain(index.grant(some, guests)); },
      [&](Index& index) { return plain(index.drop_tenant(2)); },
  };
  size_t lost = 0;
  using Views = std::pair<std::set<VectorId>, std::set<VectorId>>;
  const auto views = [](const Index& index) { return Views(view(index, 1), view(index, 2)); };
  const auto fresh = [&] {
    auto index = std::make_unique<Index>(small_options());
    must(index->build(ids, rows.data(), std::vector<TenantId>(ids.size(), 1), range(0, 60), std::vector<TenantId>(60, 2)));
    return index;
  };
  for (const Change& change : changes) {
    const auto other = fresh();
    const Views before = views(*other);
    must(change(*other));
    const Views after = views(*other);
    bool done = false;
    for (size_t allocations = 0; !done; allocations += 1 + allocations / 32) {
      const auto made = fresh();
      Index& index = *made;
      Status status = mrpc::ok_status();
      done = run([&] { status = change(index); }, allocations);
      if (done) must(status);
      if (index.cut().ok()) {
        must(index.check());
        continue;
      }
      REQUIRE(!done);
      ++lost;
      CHECK((views(index) == before || views(index) == after));
      CHECK(found(index, {1, 2}) == view(index, 1));
      if (&change != &changes[2]) CHECK(index.rows(ids).ok());  // the id map is ahead with what goes
      for (const Change& next : changes) CHECK(next(index).error().code == mrpc::StatusCode::kResourceExhausted);
      CHECK(!index.maintain(100));
      CHECK(!index.check().ok());
      CHECK(index.stats().vectors > 0);
    }
  }
  CHECK(lost > 50);
}
#endif
