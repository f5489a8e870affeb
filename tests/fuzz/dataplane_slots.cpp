// A hostile application: the input is its slots (64 bytes each, the first byte of the input says how many), then the start of its
// send heap. The shard must stay up, and an honest server beside it must stay attached.
#include <cstring>

#include "dataplane/schemas.h"
#include "dataplane/shard.h"

using namespace mrpc;
using namespace mrpc::dataplane;

namespace {

struct QuietWorld final : World {
  uint64_t now_ns() override { return now += 1000; }
  uint64_t random() override { return 4; }
  void wake(Attachment&) override {}
  void run_long(std::function<void()> job) override { job(); }
  uint64_t now = 1;
};

struct Watcher final : ShardObserver {
  void on_violation(uint32_t attachment, const std::string&) override { MRPC_ASSERT(attachment != 1); }
  void on_event(const std::string&, const std::string&, const std::string&, const std::string&) override {}
  void on_port(uint32_t, uint32_t, int, bool) override {}
  void on_posted(uint32_t) override {}
};

template <typename T>
T must(Result<T> result) {
  MRPC_ASSERT(result.ok());
  return std::move(*result);
}

Config small() {
  Config config;
  config.ring_slots = 128;
  config.send_quota_bytes = config.receive_quota_bytes = 1 << 20;
  return config;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Config config = small();
  static const EngineCatalog catalog = native_engines();
  static const auto schema = must(message::Schema::parse(std::as_bytes(std::span(kEchoSchema))));
  if (size < 1) return 0;
  QuietWorld world;
  Watcher watcher;
  Shard shard(0, config, world, catalog, watcher);
  const auto server = must(Attachment::create(1, abi::Role::kServer, {1, 1, "server", "uid:1", ""}, config));
  const auto role = (data[0] & 0x80) != 0 ? abi::Role::kServer : abi::Role::kClient;
  const auto rogue = must(Attachment::create(2, role, {2, 2, "rogue", "uid:2", ""}, config));
  shard.add_port(server);
  shard.add_port(rogue);
  const message::ServiceLayout* service = schema->service("test.Echo");
  shard.offer(1, 200, std::make_shared<ServiceVariant>(ServiceVariant{schema, service}));
  std::vector<std::shared_ptr<BoundMethod>> methods;
  for (const auto& method : service->methods) methods.push_back(bind_method(schema, *service, method, "", "rogue"));
  shard.bind(2, 100, methods);

  const auto rings = must(shm::Mapping::map(rogue->welcome_fds()[abi::kAppRingsFd], abi::ring_region_bytes(1, config.ring_slots), shm::Access::kReadWrite));
  const auto heap = must(shm::Mapping::map(rogue->welcome_fds()[abi::kSendHeapFd], rogue->send_heap_bytes(), shm::Access::kReadWrite));
  shm::RingRegions ring{rings.data(), nullptr, 1, config.ring_slots};
  const size_t slots = std::min<size_t>(data[0] & 0x7f, (size - 1) / sizeof(abi::Slot));
  std::memcpy(ring.submit_slots(0), data + 1, slots * sizeof(abi::Slot));
  const size_t rest = size - 1 - slots * sizeof(abi::Slot);
  std::memcpy(heap.data(), data + 1 + slots * sizeof(abi::Slot), std::min<size_t>(rest, heap.size()));
  ring.app_shard(0).submit_tail.store(static_cast<uint32_t>(data[0] & 0x7f));
  for (int turn = 0; turn < 8; ++turn) {
    shard.ring(2);
    shard.turn();
  }
  shard.remove_port(2, "done");
  shard.turn();
  MRPC_ASSERT(shard.clients().open_calls() == 0);
  return 0;
}
