#include <thread>

#include "stub/fixture.h"

namespace mrpc::test {
namespace {

constexpr uint64_t kMiB = 1 << 20;

TEST_CASE("large messages are held until the daemon has read them, and come back whole") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  for (const uint64_t bytes : {15'000, 17'000, 300'000, 40'000'000}) {
    const std::string image(bytes, static_cast<char>('a' + bytes % 23));
    for (int i = 0; i < 8; ++i) REQUIRE(app.call(kEcho, image) == image);  // 8 x 40 MB is more than the quota
  }
  CHECK(daemon.violations() == 0);
}

TEST_CASE("the quota is an error that says what to do, and small blocks in flight are collected first") {
  Directory directory;
  FakeDaemon::Options options;
  options.quota_bytes = kMiB;
  FakeDaemon daemon(directory, options);
  Attached app(daemon.socket_path());
  for (int i = 0; i < 200; ++i) REQUIRE(app.call(kEcho, std::string(12'000, 'x')).size() == 12'000);
  const auto refused = app.client->allocate(2 * kMiB);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == StatusCode::kResourceExhausted);
}

// A message whose image is 8 inline bytes and one segment.
stub::SendBlock with_segment(stub::Client& client, stub::Pinned pinned) {
  const shm::BlockShape shape{1, 0, 0, 8};
  auto block = client.allocate(shm::block_bytes(shape));
  REQUIRE(block);
  shm::BlockWriter writer(block->data(), shape);
  writer.segment(0, pinned.segment);
  std::memset(writer.image(), 0, 8);
  writer.finish();
  block->pin(std::move(pinned));
  return std::move(*block);
}

TEST_CASE("a heap buffer is sent without a copy, as often as one likes, and dies when nobody holds it") {
  Directory directory;
  FakeDaemon::Options options;
  options.quota_bytes = 16 * kMiB;
  FakeDaemon daemon(directory, options);
  Attached app(daemon.socket_path());
  for (int round = 0; round < 10; ++round) {  // 10 x 10 MiB over a quota of 16: each must have been freed
    auto buffer = app.client->allocate_buffer(10 * kMiB);
    REQUIRE(buffer);
    std::memset((*buffer)->bytes().data(), 'b', 10 * kMiB);
    std::weak_ptr<stub::HeapBuffer> watch = *buffer;
    auto pinned = app.client->locate((*buffer)->bytes().data() + 5000, kMiB);
    REQUIRE(pinned);
    CHECK_FALSE(app.client->locate((*buffer)->bytes().data() + 5000, 10 * kMiB));
    auto call = app.client->start(app.service, kEcho, with_segment(*app.client, std::move(*pinned)), {});
    REQUIRE(call);
    buffer->reset();
    const std::string image = app.outcome(**call);
    REQUIRE(image.size() == 64 + kMiB);
    CHECK(image.substr(64) == std::string(kMiB, 'b'));
    until([&] { app.call(kEcho, "poll"); return watch.expired(); });
  }
  CHECK(daemon.violations() == 0);
}

TEST_CASE("a received block is sent on by reference, and outlives its call") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  const std::string image(100'000, 'r');
  auto first = app.start(kEcho, image);
  REQUIRE(app.outcome(*first) == image);
  auto pinned = app.client->locate(first->reply().block->image().data(), image.size());
  REQUIRE(pinned);
  CHECK(pinned->segment.region == abi::kReceiveRegion);
  first.reset();
  auto second = app.client->start(app.service, kEcho, with_segment(*app.client, std::move(*pinned)), {});
  REQUIRE(second);
  CHECK(app.outcome(**second).substr(64) == image);
  second->reset();
  app.call(kEcho, "reclaims go with a submission");
  app.call(kEcho, "and are taken before this is answered");
  CHECK(daemon.receive_bytes() < 4096);
  CHECK(daemon.violations() == 0);
}

TEST_CASE("an idle client gives its send memory back, and wants it again as often as it likes") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path(), "test.Service", kSchema, 5);
  const std::string image(32 * kMiB, 'i');
  for (int round = 0; round < 3; ++round) {
    REQUIRE(app.call(kEcho, image).size() == image.size());
    until([&] { return daemon.send_bytes_backed() < kMiB; });
  }
  REQUIRE(app.call(kEcho, image).size() == image.size());  // the thread that would give it back now ends with its client
}

TEST_CASE("a client that is not idle for long enough keeps its memory warm, also in a forked child's eyes") {
  Directory directory;
  FakeDaemon daemon(directory);
  auto app = std::make_optional<Attached>(daemon.socket_path(), "test.Service", kSchema, 3'600'000);
  const std::string image(32 * kMiB, 'i');
  REQUIRE(app->call(kEcho, image).size() == image.size());
  CHECK(daemon.send_bytes_backed() >= 32 * kMiB);
  CHECK(in_child([&] {  // the thread that waits for the hour to pass is not there
    app.reset();
    return true;
  }));
  CHECK(daemon.send_bytes_backed() >= 32 * kMiB);
}

TEST_CASE("an idle server gives its send memory back") {
  Directory directory;
  FakeDaemon daemon(directory);
  stub::AttachOptions options{daemon.socket_path(), "", ""};
  options.trim_idle_ms = 5;
  auto server = *stub::Server::attach(options);
  REQUIRE(server->offer(kSchema, "test.Service"));
  Attached app(daemon.socket_path(), "test.Service", kSchema, 5);
  std::thread worker([&] {
    stub::IncomingPtr incoming;
    while (server->next(incoming, {}) == stub::NextOutcome::kCall)
      CHECK(server->reply(*incoming, StatusCode::kOk, answer(*server, *incoming, std::string(32 * kMiB, 's')), true));
  });
  for (int round = 0; round < 3; ++round) {
    CHECK(app.call(kEcho, "x").size() == 32 * kMiB);
    until([&] { return daemon.send_bytes_backed() < kMiB; });
  }
  server->stop(0);
  worker.join();
}

TEST_CASE("memory that is not of the heap is not located") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  const std::string own(100'000, 'x');
  CHECK_FALSE(app.client->locate(own.data(), own.size()));
  CHECK_FALSE(app.client->locate(nullptr, 1 << 20));
  const auto freed = [&] { return (*app.client->allocate_buffer(8192))->bytes().data(); }();
  CHECK_FALSE(app.client->locate(freed, 8192));
}

}  // namespace
}  // namespace mrpc::test
