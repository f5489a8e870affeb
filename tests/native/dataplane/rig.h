// A shard stepped by hand: no thread, a clock that the test moves, and applications that write their rings themselves.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/shard.h"
#include "dataplane/schemas.h"
#include "message/image.h"
#include "shm/block.h"

namespace mrpc::dataplane::testing {

using abi::SlotKind;

class StepWorld final : public World {
 public:
  uint64_t now_ns() override { return now; }
  uint64_t random() override { return ++seed; }
  void wake(Attachment&) override { wakes += 1; }
  void run_long(std::function<void()> job) override { long_jobs.push_back(std::move(job)); }

  uint64_t now = 1'000'000'000, seed = 0, wakes = 0;
  std::deque<std::function<void()>> long_jobs;
};

struct Observed final : ShardObserver {
  void on_violation(uint32_t attachment, const std::string& text) override { violations[attachment] = text; }
  void on_event(const std::string& kind, const std::string&, const std::string&, const std::string&) override { events.push_back(kind); }
  void on_port(uint32_t, uint32_t, int, bool) override {}
  void on_posted(uint32_t) override {}
  void on_log(std::string_view, std::string_view, std::string_view, std::string_view) override { events.push_back("log"); }
  void on_program_needed(const std::string& service, uint64_t) override { events.push_back("needs " + service); }
  std::map<uint32_t, std::string> violations;
  std::vector<std::string> events;
};

inline std::shared_ptr<const message::Schema> parse_schema(std::span<const unsigned char> bytes) {
  auto schema = message::Schema::parse(std::as_bytes(bytes));
  REQUIRE(schema.ok());
  return *schema;
}

// Protobuf bytes of a length-delimited field.
inline std::string wire_text(uint32_t number, std::string_view text) {
  std::string out(1, static_cast<char>(number << 3 | 2));
  for (size_t n = text.size(); ; n >>= 7) {
    out += static_cast<char>((n & 127) | (n > 127 ? 128 : 0));
    if (n <= 127) break;
  }
  return out.append(text);
}

inline std::vector<std::byte> image_of(const message::MessageLayout& layout, const std::string& protobuf) {
  std::vector<std::byte> image;
  REQUIRE(message::from_protobuf(layout, std::as_bytes(std::span(protobuf)), {}, image).ok());
  return image;
}

// What an application took from its completion ring.
struct Arrival {
  abi::Slot slot{};
  std::string text;  // status text
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<std::byte> image;
  SlotKind kind() const { return static_cast<SlotKind>(slot.kind); }
  StatusCode code() const { return static_cast<StatusCode>(slot.code); }
};

// One application's end of an attachment, as a hostile or an honest stub would use it.
class App {
 public:
  App(uint32_t id, abi::Role role, const std::string& name, const Config& config, std::shared_ptr<const TenantGrants> tenants = nullptr) {
    auto made = Attachment::create(id, role, {1000, 1, name, "uid:1000", name, std::move(tenants)}, config);
    REQUIRE(made.ok());
    attachment = *made;
    const auto fds = attachment->welcome_fds();
    auto rings = shm::Mapping::map(fds[abi::kAppRingsFd], abi::ring_region_bytes(config.shards, config.ring_slots), shm::Access::kReadWrite);
    auto heap = shm::Mapping::map(fds[abi::kSendHeapFd], attachment->send_heap_bytes(), shm::Access::kReadWrite);
    REQUIRE((rings.ok() && heap.ok()));
    rings_ = std::move(*rings);
    heap_ = std::move(*heap);
    ring.app = rings_.data();
    ring.daemon = attachment->rings.daemon;
    ring.shards = config.shards;
    ring.slots = config.ring_slots;
    bind_rings(0);
  }

  void bind_rings(uint32_t shard) {
    submit = shm::RingProducer(ring.submit_slots(shard), ring.slots, &ring.app_shard(shard).submit_tail, &ring.daemon_shard(shard).submit_head);
    complete = shm::RingConsumer(ring.complete_slots(shard), ring.slots, &ring.daemon_shard(shard).complete_tail, &ring.app_shard(shard).complete_head);
  }

  // Writes a block at the next free place of the send heap; returns a slot that names it.
  abi::Slot write(std::span<const std::byte> image, std::string_view status_text = {}, std::span<const abi::Segment> segments = {}) {
    const shm::BlockShape shape{static_cast<uint32_t>(segments.size()), shm::metadata_bytes(metadata), status_text.empty() ? 0 : shm::details_bytes(status_text, {}), image.size()};
    const uint64_t at = next_;
    shm::BlockWriter writer(heap_.data() + at, shape);
    if (!metadata.empty()) writer.metadata(metadata);
    if (!status_text.empty()) writer.details(status_text, {});
    for (uint32_t i = 0; i < segments.size(); ++i) writer.segment(i, segments[i]);
    if (!image.empty()) std::memcpy(writer.image(), image.data(), image.size());
    abi::Slot slot{};
    slot.offset = at;
    slot.length = writer.finish();
    slot.region = abi::kSendRegion;
    next_ = abi::align_up(at + slot.length, 64);
    return slot;
  }
  Port& port(Shard& shard) { return *shard.find_port(attachment->id); }
  std::byte* heap() { return heap_.data(); }
  uint64_t take_heap(uint64_t bytes) {
    const uint64_t at = next_;
    next_ = abi::align_up(at + bytes, 64);
    return at;
  }

  void submit_slot(const abi::Slot& slot) {
    REQUIRE(submit.room() == shm::RingState::kOk);
    submit.push(slot);
    submit.publish();
  }
  void open(uint32_t handle, uint64_t call, std::span<const std::byte> image, uint8_t flags = abi::kEnd, uint64_t deadline = 0) {
    abi::Slot slot = write(image);
    slot.kind = static_cast<uint8_t>(SlotKind::kOpen);
    slot.flags = flags | abi::kHasMessage | (slot.length > abi::kIntakeBytesMax ? abi::kHold : 0);
    slot.handle = handle;
    slot.call_id = call;
    slot.aux = deadline;
    submit_slot(slot);
  }
  void say(SlotKind kind, uint64_t call, std::span<const std::byte> image, uint32_t sequence = 0, StatusCode code = StatusCode::kOk,
           std::string_view text = {}) {
    abi::Slot slot = image.empty() && text.empty() ? abi::Slot{} : write(image, text);
    slot.kind = static_cast<uint8_t>(kind);
    slot.flags = static_cast<uint8_t>((image.empty() ? 0 : abi::kHasMessage) | (slot.length > abi::kIntakeBytesMax ? abi::kHold : 0));
    slot.call_id = call;
    slot.code = static_cast<uint8_t>(code);
    slot.sequence = sequence;
    submit_slot(slot);
  }

  // Next completion, its block copied out and (unless `keep`) given back.
  std::optional<Arrival> take(bool keep = false) {
    Arrival arrival;
    if (complete.pop(arrival.slot) != shm::RingState::kOk) return std::nullopt;
    complete.publish();
    const abi::Slot& slot = arrival.slot;
    if (arrival.kind() != SlotKind::kReclaim && slot.length != 0) {
      const std::span<const std::byte> block(attachment->receive_heap() + slot.offset, slot.length);
      auto reader = shm::BlockReader::parse(block, slot.length, {});
      REQUIRE(reader.ok());
      arrival.text = reader->status_message();
      shm::MetadataReader pairs(reader->metadata());
      for (shm::MetadataPair pair; pairs.next(pair);) arrival.metadata.emplace_back(pair.key, pair.value);
      arrival.image.assign(reader->inline_image().begin(), reader->inline_image().end());
      if (!keep) reclaim(slot.offset);
    }
    return arrival;
  }
  void reclaim(uint64_t offset) {
    abi::Slot slot{};
    slot.kind = static_cast<uint8_t>(SlotKind::kReclaim);
    slot.region = abi::kReceiveRegion;
    slot.offset = offset;
    slot.aux = 1;
    submit_slot(slot);
  }

  std::vector<shm::MetadataPair> metadata;  // of what it writes next
  std::shared_ptr<Attachment> attachment;
  shm::RingRegions ring;
  shm::RingProducer submit;
  shm::RingConsumer complete;

 private:
  shm::Mapping rings_, heap_;
  uint64_t next_ = 64;
};

// A shard with an Echo server and a client, both honest until a test says otherwise.
class Rig {
 public:
  static constexpr uint32_t kHandles = 100, kOffered = 200;

  explicit Rig(Config settings = {}) : config(std::move(settings)), shard(0, config, world, catalog, observed), server(1, abi::Role::kServer, "echo-app", config),
        client(2, abi::Role::kClient, "client-app", config) {
    add(server);
    add(client);
    offer(server);
    bind(client, schema);
  }

  void add(App& app) { shard.add_port(app.attachment); }
  void offer(App& app) { shard.offer(app.attachment->id, kOffered, std::make_shared<ServiceVariant>(ServiceVariant{schema, schema->service("test.Echo")})); }
  void bind(App& app, const std::shared_ptr<const message::Schema>& by, const std::string& target = "") {
    std::vector<std::shared_ptr<BoundMethod>> methods;
    const message::ServiceLayout* layout = by->service("test.Echo");
    for (const auto& method : layout->methods) methods.push_back(bind_method(by, *layout, method, target, app.attachment->identity.app));
    shard.bind(app.attachment->id, kHandles, methods);
  }
  void apply(std::vector<PolicySpec> policies) {
    auto set = std::make_shared<ChainSet>();
    set->epoch = set->revision = ++epoch_;
    set->chains.push_back({"test-chain", "*", "*", "*", std::move(policies)});
    shard.apply_chains(set);
  }

  // Rings every doorbell and turns until nothing is left to do.
  void settle(bool long_jobs = true) {
    for (int i = 0; i < 1000; ++i) {
      shard.ring(server.attachment->id);
      shard.ring(client.attachment->id);
      for (const uint32_t id : others) shard.ring(id);
      bool worked = shard.turn();
      for (; long_jobs && !world.long_jobs.empty(); worked = true) {
        auto job = std::move(world.long_jobs.front());
        world.long_jobs.pop_front();
        job();
      }
      if (!worked) return;
    }
    FAIL("the shard does not come to rest");
  }
  std::vector<std::byte> payload(const std::string& name, const std::string& data = "") {
    return image_of(*schema->message("test.Payload"), (name.empty() ? "" : wire_text(1, name)) + (data.empty() ? "" : wire_text(2, data)));
  }
  std::string name_of(const Arrival& arrival) {
    const auto& layout = *schema->message("test.Payload");
    return std::string(message::root_view(layout, arrival.image).text(*layout.by_name("name")));
  }
  // The server answers the next call with the request's own image.
  Arrival echo() {
    settle();
    auto request = server.take();
    REQUIRE(request.has_value());
    REQUIRE(request->kind() == SlotKind::kOpen);
    server.say(SlotKind::kStatus, request->slot.call_id, request->image);
    settle();
    return *request;
  }
  Arrival reply() {
    settle();
    while (auto arrival = client.take())
      if (arrival->kind() != SlotKind::kReclaim) return *arrival;
    FAIL("no completion");
    return {};
  }

  StepWorld world;
  Observed observed;
  Config config;
  EngineCatalog catalog = native_engines();
  Shard shard;
  std::shared_ptr<const message::Schema> schema = parse_schema(kEchoSchema);
  App server, client;
  std::vector<uint32_t> others;

 private:
  uint64_t epoch_ = 0;
};

}  // namespace mrpc::dataplane::testing
