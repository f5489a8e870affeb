// A shard's own thread, with doorbells that are rung as an application rings them.
#include <unistd.h>

#include <chrono>

#include "dataplane/rig.h"
#include "dataplane/shard_thread.h"

namespace mrpc::dataplane::testing {
namespace {

class RealWorld final : public World {
 public:
  uint64_t now_ns() override { return monotonic_ns(); }
  uint64_t random() override { return ++seed_; }
  void wake(Attachment&) override {}
  void run_long(std::function<void()> job) override { job(); }

 private:
  uint64_t seed_ = 0;
};

struct Watcher final : ShardObserver {
  void on_violation(uint32_t, const std::string&) override {}
  void on_event(const std::string&, const std::string&, const std::string&, const std::string&) override {}
  void on_port(uint32_t, uint32_t port, int doorbell, bool added) override { thread->watch(port, doorbell, added); }
  void on_posted(uint32_t) override { thread->wake(); }
  void on_log(std::string_view, std::string_view, std::string_view, std::string_view) override {}
  void on_program_needed(const std::string&, uint64_t) override {}
  ShardThread* thread = nullptr;
};

// Asks again and again, for as long as a test may last.
template <typename Predicate>
bool comes_about(Predicate&& holds) {
  const uint64_t until_ns = monotonic_ns() + 10'000'000'000;
  while (!holds())
    if (monotonic_ns() > until_ns) return false;
  return true;
}

}  // namespace

TEST_CASE("an application that went quiet is heard while other work keeps the shard awake") {
  Config config;
  RealWorld world;
  Watcher watcher;
  const EngineCatalog catalog = native_engines();
  ShardThread thread(0, config, world, catalog, watcher);
  watcher.thread = &thread;
  const auto schema = parse_schema(kEchoSchema);
  const message::ServiceLayout& service = *schema->service("test.Echo");
  App server(1, abi::Role::kServer, "echo-app", config), client(2, abi::Role::kClient, "client-app", config);
  std::vector<std::shared_ptr<BoundMethod>> methods;
  for (const auto& method : service.methods) methods.push_back(bind_method(schema, service, method, "", "client-app"));
  thread.shard().add_port(server.attachment);
  thread.shard().add_port(client.attachment);
  thread.shard().offer(1, Rig::kOffered, std::make_shared<ServiceVariant>(ServiceVariant{schema, &service}));
  thread.shard().bind(2, Rig::kHandles, methods);
  thread.start();
  REQUIRE(comes_about([&] { return client.ring.daemon_shard(0).asleep.load() != 0; }));

  std::atomic<bool> busy{true};
  std::atomic<uint64_t> rounds{0};
  std::function<void()> work = [&] {
    rounds += 1;
    if (busy) thread.shard().post(work);
  };
  thread.shard().post(work);
  REQUIRE(comes_about([&] { return rounds > 100; }));

  client.open(Rig::kHandles, 1, image_of(*schema->message("test.Payload"), wire_text(1, "x")));
  const uint64_t one = 1;
  REQUIRE(::write(client.attachment->doorbell(0), &one, sizeof one) == sizeof one);
  CHECK(comes_about([&] { return server.take().has_value(); }));
  busy = false;
  thread.stop();
}

}  // namespace mrpc::dataplane::testing
