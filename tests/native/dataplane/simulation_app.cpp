#include "dataplane/simulation.h"

namespace mrpc::dataplane::testing {
namespace {

constexpr uint64_t kData[] = {0, 20'000, 300'000, 200'000};  // by Size

std::shared_ptr<const message::Schema> schema() {
  static const auto parsed = parse_schema(kEchoSchema);
  return parsed;
}
const message::MessageLayout& payload_layout() { return *schema()->message("test.Payload"); }

// The same for all messages of a call: servers echo what they are sent.
char data_of(const std::string& name) { return static_cast<char>('a' + std::hash<std::string>{}(name.substr(0, name.find('/'))) % 26); }

}  // namespace

SimDaemon::SimDaemon(transport::FakeNetwork& network, Config settings, size_t frames_queued_max) : config(std::move(settings)) {
  for (uint32_t i = 0; i < config.shards; ++i) {
    shards.push_back(std::make_unique<Shard>(i, config, world, catalog, observed));
    transport::FakeOptions options;
    options.node_name = config.node;
    options.layout_version = config.layout_version;
    options.receive.message_bytes_max = config.message_bytes_max;
    options.send.queue_frames_max = frames_queued_max;
    options.give_up_ns = 300'000'000;
    options.ping_idle_ns = 100'000'000;
    options.retry_ns = 20'000'000;
    shards.back()->set_remote(std::make_unique<transport::FakeTransport>(network, options));
    shards.back()->set_try_again([this](ReplyStore::CallKey call) {
      Shard& other = *shards[call.first & ~kServerCall];
      other.post([&other, call] { other.resume(call); });
    });
  }
}

SimApp::SimApp(uint32_t id, abi::Role role, const std::string& name, SimDaemon& daemon, uint32_t shard)
    : daemon_(&daemon), shard_(shard), app_(id, role, name, daemon.config) {
  app_.bind_rings(shard);
  this->shard().add_port(app_.attachment);
  const message::ServiceLayout* layout = schema()->service("test.Echo");
  if (role == abi::Role::kServer) {
    this->shard().offer(id, Rig::kOffered, std::make_shared<ServiceVariant>(ServiceVariant{schema(), layout}));
    return;
  }
  std::vector<std::shared_ptr<BoundMethod>> methods;
  for (const auto& method : layout->methods) methods.push_back(bind_method(schema(), *layout, method, "", name));
  this->shard().bind(id, Rig::kHandles, methods);
}

abi::Slot SimApp::write(const std::string& name, Size size) {
  const uint64_t data_bytes = kData[static_cast<size_t>(size)];
  const std::string data(size == Size::kBlob ? 0 : data_bytes, data_of(name));
  auto image = image_of(payload_layout(), wire_text(1, name) + (data.empty() ? "" : wire_text(2, data)));
  if (size != Size::kBlob) return app_.write(image);
  const message::Ref ref{static_cast<uint32_t>(abi::align_up(image.size(), abi::kBlobAlign)), static_cast<uint32_t>(data_bytes)};
  std::memcpy(image.data() + payload_layout().by_name("data")->offset, &ref, sizeof ref);
  const abi::Segment segment{app_.take_heap(data_bytes), data_bytes, abi::kSendRegion, 0};
  std::memset(app_.heap() + segment.offset, data_of(name), data_bytes);
  return app_.write(image, {}, std::span(&segment, 1));
}

void SimApp::submit(SlotKind kind, uint64_t call, uint8_t flags, uint64_t aux, StatusCode code) {
  abi::Slot slot{};
  slot.kind = static_cast<uint8_t>(kind);
  slot.flags = flags;
  slot.call_id = call;
  slot.aux = aux;
  slot.code = static_cast<uint8_t>(code);
  app_.submit_slot(slot);
}

void SimApp::submit(SlotKind kind, uint64_t call, const std::string& name, Size size, uint8_t flags, uint32_t sequence, uint64_t aux, uint32_t handle) {
  abi::Slot slot = write(name, size);
  const bool held = slot.length > abi::kIntakeBytesMax || size == Size::kBlob;
  if (held) held_.insert(slot.offset);
  slot.kind = static_cast<uint8_t>(kind);
  slot.flags = static_cast<uint8_t>(flags | abi::kHasMessage | (held ? abi::kHold : 0));
  slot.handle = handle;
  slot.call_id = call;
  slot.sequence = sequence;
  slot.aux = aux;
  app_.submit_slot(slot);
}

std::optional<Arrival> SimApp::take(bool keep) {
  for (;;) {
    auto arrival = app_.take(true);
    if (!arrival) return std::nullopt;
    if (arrival->kind() != SlotKind::kReclaim) {
      if (arrival->slot.length != 0) kept_.push_back(arrival->slot.offset);
      if (!keep) give_back();
      return arrival;
    }
    const auto held = held_.find(arrival->slot.offset);
    REQUIRE_MESSAGE(held != held_.end(), "a send block came back that was not out");
    held_.erase(held);
  }
}

void SimApp::give_back() {
  for (; !kept_.empty() && has_room(); kept_.pop_back()) app_.reclaim(kept_.back());
}

std::string SimApp::name_of(const Arrival& arrival) {
  if (arrival.image.empty()) return "";
  const auto view = message::root_view(payload_layout(), arrival.image);
  const std::string name(view.text(*payload_layout().by_name("name")));
  const auto data = view.text(*payload_layout().by_name("data"));
  return data.find_first_not_of(data_of(name)) == std::string_view::npos ? name : "";
}

}  // namespace mrpc::dataplane::testing
