// The stub over the real data plane: what the small daemon of the other tests cannot show, that both halves mean the same by abi.h.
#include <cstdlib>
#include <fstream>
#include <thread>

#include "dataplane/dataplane.h"
#include "dataplane/schemas.h"
#include "message/image.h"
#include "stub/fixture.h"

namespace mrpc::test {
namespace {

using stub::IncomingPtr;
using stub::NextOutcome;

constexpr uint32_t kEchoMethod = 0, kChatMethod = 1;
const auto kSchemaBytes = std::as_bytes(std::span(kEchoSchema));

// The image of a Payload with `name`.
std::string payload(std::string_view name) {
  const auto schema = message::Schema::parse(kSchemaBytes);
  REQUIRE(schema);
  std::vector<std::byte> wire{std::byte{10}};
  for (size_t n = name.size();; n >>= 7) {
    wire.push_back(static_cast<std::byte>((n & 127) | (n > 127 ? 128 : 0)));
    if (n <= 127) break;
  }
  const auto bytes = std::as_bytes(std::span(name));
  wire.insert(wire.end(), bytes.begin(), bytes.end());
  std::vector<std::byte> image;
  REQUIRE(message::from_protobuf(*(*schema)->message("test.Payload"), wire, {}, image));
  return text(image);
}

constexpr uint64_t kStruct = 40;  // of Payload: 8 unknown, 8 presence, three Refs
constexpr uint64_t kDataRef = 24;

// The canonical image of the same Payload with its data inline: what a server that encodes its reply would write. A received segment
// stands where segments start.
std::string inlined(std::string image) {
  message::Ref data;
  std::memcpy(&data, image.data() + kDataRef, sizeof data);
  if (data.offset != 64) return image;
  image.erase(kStruct, 64 - kStruct);
  data.offset = kStruct;
  std::memcpy(image.data() + kDataRef, &data, sizeof data);
  return image;
}

class Mesh {
 public:
  explicit Mesh(const std::string& directory, uint32_t shards = 1) : dataplane_(config(directory, shards)) {
    const auto started = dataplane_.start();
    REQUIRE_MESSAGE(started.ok(), (started.ok() ? "" : started.error().text));
  }
  ~Mesh() { dataplane_.stop(0); }
  dataplane::Dataplane& dataplane() { return dataplane_; }

  static dataplane::Config config(const std::string& directory, uint32_t shards) {
    dataplane::Config config;
    config.socket_path = directory + "/app.sock";
    config.shards = shards;
    return config;
  }

 private:
  dataplane::Dataplane dataplane_;
};

void chat(stub::Server& server, stub::Incoming& incoming) {
  const auto send_back = [&](const stub::RecvBlockPtr& block) {
    server.wait_credit(incoming, {});
    REQUIRE(server.send_message(incoming, answer(server, incoming, text(block->image()))));
  };
  send_back(incoming.request());
  for (;;) {
    server.wait_message(incoming, {});
    if (auto message = server.receive(incoming)) send_back(message->block);
    else if (incoming.half_closed() || incoming.cancelled()) break;
  }
  CHECK(server.reply(incoming, StatusCode::kOk, {}, false).ok());
}

// Serves test.Echo with some threads until it is dropped. A request named "hang" is answered only when it is cancelled.
class EchoServer {
 public:
  explicit EchoServer(const std::string& path) {
    auto attached = stub::Server::attach({path, "server", ""});
    REQUIRE(attached);
    server = *attached;
    const auto offered = server->offer(kSchemaBytes, "test.Echo");
    REQUIRE_MESSAGE(offered.ok(), (offered.ok() ? "" : offered.error().text));
    for (int i = 0; i < 3; ++i)
      threads_.emplace_back([this] {
        IncomingPtr incoming;
        while (server->next(incoming, {}) == NextOutcome::kCall) handle(*incoming);
      });
  }
  ~EchoServer() {
    server->stop(kSecondNs);
    for (auto& thread : threads_) thread.join();
  }
  std::shared_ptr<stub::Server> server;
  std::atomic<uint32_t> cancelled{0};

 private:
  void handle(stub::Incoming& incoming) {
    if (incoming.method() == kChatMethod) return chat(*server, incoming);
    const std::string image = inlined(text(incoming.request()->image()));
    if (image.find("hang") == std::string::npos) {
      CHECK(server->reply(incoming, StatusCode::kOk, answer(*server, incoming, image), true).ok());
      return;
    }
    while (!incoming.cancelled()) std::this_thread::yield();
    ++cancelled;
  }
  std::vector<std::thread> threads_;
};

struct Caller : Attached {
  explicit Caller(const std::string& path) : Attached(path, "test.Echo", kSchemaBytes) {}
};

TEST_CASE("calls of many threads, over 1, 2 and 4 shards") {
  for (const uint32_t shards : {1, 2, 4}) {
    Directory directory;
    Mesh mesh(directory, shards);
    const std::string path = std::string(directory) + "/app.sock";
    EchoServer server(path);
    Caller app(path);
    const std::string image = payload("hello");
    std::vector<std::thread> callers;
    std::atomic<int> right{0};
    for (int t = 0; t < 16; ++t)
      callers.emplace_back([&] {
        for (int i = 0; i < 100; ++i) {
          auto call = app.client->start(app.service, kEchoMethod, request(*app.client, image), {});
          if (call.ok() && app.client->wait(**call, {}) == stub::WaitOutcome::kReady && (*call)->reply().code == StatusCode::kOk &&
              text((*call)->reply().block->image()) == image)
            ++right;
        }
      });
    for (auto& caller : callers) caller.join();
    CHECK(right == 1600);
  }
}

TEST_CASE("messages from one byte to 20 MB, far beyond the quota all together") {
  Directory directory;
  Mesh mesh(directory);
  const std::string path = std::string(directory) + "/app.sock";
  EchoServer server(path);
  Caller app(path);
  for (const size_t bytes : {size_t{1}, size_t{15'000}, size_t{16'300}, size_t{17'000}, size_t{200'000}, size_t{20'000'000}}) {
    const std::string image = payload(std::string(bytes, 'n'));
    for (int i = 0; i < 10; ++i) REQUIRE(app.call(kEchoMethod, image) == image);
  }
}

TEST_CASE("a bytes field is sent from a heap buffer, and the received one is sent on") {
  Directory directory;
  Mesh mesh(directory);
  const std::string path = std::string(directory) + "/app.sock";
  EchoServer server(path);
  Caller app(path);
  constexpr uint64_t kBytes = 3 << 20;
  auto buffer = app.client->allocate_buffer(kBytes);
  REQUIRE(buffer);
  std::memset((*buffer)->bytes().data(), 'd', kBytes);
  const std::byte* data = (*buffer)->bytes().data();
  stub::CallPtr kept;
  for (int round = 0; round < 3; ++round) {
    auto pinned = app.client->locate(data, kBytes);
    REQUIRE(pinned);
    const shm::BlockShape shape{1, 0, 0, kStruct};
    auto block = app.client->allocate(shm::block_bytes(shape));
    REQUIRE(block);
    shm::BlockWriter writer(block->data(), shape);
    std::memset(writer.image(), 0, kStruct);
    const message::Ref ref{64, kBytes};  // the segment starts at the next multiple of 64
    std::memcpy(writer.image() + kDataRef, &ref, sizeof ref);
    writer.segment(0, pinned->segment);
    writer.finish();
    block->pin(std::move(*pinned));
    auto call = app.client->start(app.service, kEchoMethod, std::move(*block), {});
    REQUIRE(call);
    const std::string image = app.outcome(**call);
    REQUIRE_MESSAGE(image.size() == kStruct + kBytes, image.substr(0, 200));
    const bool whole = image.substr(kStruct) == std::string(kBytes, 'd');
    CHECK(whole);
    kept = *call;
    data = kept->reply().block->image().data() + kStruct;  // the next round sends on what this one received
  }
}

// 100 messages each way: every one comes back, in order.
void stream_both_ways(Caller& app) {
  constexpr uint32_t kMessages = 100;
  stub::CallOptions options;
  options.end = false;
  auto call = app.start(kChatMethod, payload("0"), options);
  std::thread sender([&] {
    for (uint32_t i = 1; i < kMessages; ++i) {
      app.client->wait_credit(*call, {});
      REQUIRE(app.client->send_message(*call, request(*app.client, payload(std::to_string(i))), false));
    }
    REQUIRE(app.client->half_close(*call));
  });
  for (uint32_t i = 0; i < kMessages; ++i) {
    app.client->wait_message(*call, {});
    const auto message = app.client->receive(*call);
    if (!message) MESSAGE(app.outcome(*call));
    REQUIRE(message);
    CHECK(text(message->block->image()) == payload(std::to_string(i)));
  }
  sender.join();
  app.client->wait(*call, {});
  CHECK(call->reply().code == StatusCode::kOk);
}

TEST_CASE("a stream in both directions") {
  Directory directory;
  Mesh mesh(directory);
  const std::string path = std::string(directory) + "/app.sock";
  EchoServer server(path);
  Caller app(path);
  stream_both_ways(app);
}

TEST_CASE("a stream in both directions, between two daemons over TCP") {
  Directory near_directory, far_directory;
  Mesh near(near_directory), far(far_directory);
  const std::string image = payload("ready?");
  EchoServer server(std::string(far_directory) + "/app.sock");
  Caller app(std::string(near_directory) + "/app.sock");
  const auto address = far.dataplane().listen("127.0.0.1:0");
  REQUIRE(address);
  REQUIRE(near.dataplane().add_peer(*address));
  const uint64_t give_up_ns = stub::now_ns() + 10 * kSecondNs;
  while (app.call(kEchoMethod, image) != image && stub::now_ns() < give_up_ns) std::this_thread::yield();  // until the link is up
  stream_both_ways(app);
}

TEST_CASE("cancellation and deadlines reach the server's handler") {
  Directory directory;
  Mesh mesh(directory);
  const std::string path = std::string(directory) + "/app.sock";
  EchoServer server(path);
  Caller app(path);
  auto call = app.start(kEchoMethod, payload("hang"));
  app.client->cancel(*call);
  stub::CallOptions options;
  options.deadline_ns = stub::now_ns() + 50'000'000;
  CHECK(app.call(kEchoMethod, payload("hang"), options).substr(0, 2) == "4 ");
  CHECK(app.call(kEchoMethod, payload("alive")) == payload("alive"));
  until([&] { return server.cancelled >= 1; });  // the first may have been cancelled before a worker took it
}

TEST_CASE("the data plane is replaced: the server offers anew, the client attaches anew") {
  Directory directory;
  auto mesh = std::make_optional<Mesh>(directory);
  const std::string path = std::string(directory) + "/app.sock";
  EchoServer server(path);
  Caller app(path);
  CHECK(app.call(kEchoMethod, payload("before")) == payload("before"));
  mesh.reset();
  mesh.emplace(directory);
  until([&] {
    auto block = app.client->allocate(4096);
    return block.ok() && app.call(kEchoMethod, payload("after")) == payload("after");
  });
}

TEST_CASE("the level-1 client") {
  Directory directory;
  Mesh mesh(directory);
  const std::string path = std::string(directory) + "/app.sock", at = directory;
  EchoServer server(path);
  const auto write = [](const std::string& name, std::string_view bytes) { std::ofstream(name, std::ios::binary) << bytes; };
  write(at + "/schema", {reinterpret_cast<const char*>(kEchoSchema), sizeof kEchoSchema});
  write(at + "/image", payload("level one"));
  const std::string command = std::string(ABI1_CLIENT) + " " + path + " test.Echo " + at + "/schema " + at + "/image";
  CHECK(std::system(command.c_str()) == 0);
  ::unlink((at + "/schema").c_str());
  ::unlink((at + "/image").c_str());
}

}  // namespace
}  // namespace mrpc::test
