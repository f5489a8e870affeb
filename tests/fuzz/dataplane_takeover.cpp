// A predecessor's state: what decodes must encode to the same bytes, and a shard that is to go on from it refuses what cannot be, or has
// believed nothing that it trips over.
#include <algorithm>
#include <cstring>

#include "dataplane/shard.h"
#include "dataplane/takeover/reader.h"

using namespace mrpc;
using namespace mrpc::dataplane;

namespace {

struct QuietWorld final : World {
  uint64_t now_ns() override { return 1'000'000; }
  uint64_t random() override { return 4; }
  void wake(Attachment&) override {}
  void run_long(std::function<void()>) override {}
};

struct Watcher final : ShardObserver {
  void on_violation(uint32_t, const std::string&) override {}
  void on_event(const std::string&, const std::string&, const std::string&, const std::string&) override {}
  void on_port(uint32_t, uint32_t, int, bool) override {}
  void on_posted(uint32_t) override {}
};

Config small() {
  Config config;
  config.ring_slots = 128;
  config.send_quota_bytes = config.receive_quota_bytes = 1 << 20;
  return config;
}

std::shared_ptr<Attachment> attachment(uint32_t id, abi::Role role, const Config& config) {
  auto made = Attachment::create(id, role, {id, static_cast<pid_t>(id), "app", "uid:1", ""}, config);
  MRPC_ASSERT(made.ok());
  return *made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Config config = small();
  static const EngineCatalog catalog = native_engines();
  static const auto server = attachment(1, abi::Role::kServer, config), client = attachment(2, abi::Role::kClient, config);
  const auto bytes = std::as_bytes(std::span(data, size));
  auto state = decode_takeover(bytes);
  if (!state) return 0;
  uint32_t version = 0;
  std::memcpy(&version, data + sizeof version, sizeof version);  // behind the magic
  const auto again = encode_takeover(*state, version);
  MRPC_ASSERT(std::ranges::equal(again, bytes));
  TakeoverReader reader(std::move(*state), {});
  reader.attachments = {{1, server}, {2, client}};
  QuietWorld world;
  Watcher watcher;
  Shard shard(0, config, world, catalog, watcher);
  if (reader.failed()) return 0;
  (void)shard.import_state(reader);
  return 0;
}
