#include <barrier>
#include <thread>

#include "stub/fixture.h"

namespace mrpc::test {
namespace {

using stub::WaitOutcome;

TEST_CASE("echo, and an error with its details") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  CHECK(app.service->method_count == kMethodCount);
  CHECK(app.call(kEcho, "hello") == "hello");
  CHECK(app.call(kFail, "hello") == "5 no such thing");
  CHECK(daemon.violations() == 0);
}

TEST_CASE("rings wrap around many times, on several shards, and memory comes back") {
  Directory directory;
  FakeDaemon::Options options;
  options.shards = 3;
  options.ring_slots = 16;
  FakeDaemon daemon(directory, options);
  Attached app(daemon.socket_path());
  std::vector<stub::BoundServicePtr> services;
  for (const char* name : {"a.A", "b.B", "c.C"}) services.push_back(*app.client->bind(kSchema, name, ""));
  for (int i = 0; i < 3000; ++i) {
    app.service = services[i % services.size()];
    REQUIRE(app.call(kEcho, std::to_string(i)) == std::to_string(i));
  }
  CHECK(daemon.violations() == 0);
  CHECK(daemon.receive_bytes() < 16 * 1024);  // the rest was given back, in batches
}

void call_from_threads(int threads, int calls, uint32_t ring_slots) {
  Directory directory;
  FakeDaemon::Options options;
  options.ring_slots = ring_slots;
  FakeDaemon daemon(directory, options);
  Attached app(daemon.socket_path());
  std::atomic<int> right{0};
  std::vector<std::thread> pool;
  for (int t = 0; t < threads; ++t)
    pool.emplace_back([&, t] {
      for (int i = 0; i < calls; ++i) {
        const std::string image = std::to_string(t) + "/" + std::to_string(i);
        auto call = app.client->start(app.service, kEcho, request(*app.client, image), {});
        if (!call.ok() || app.client->wait(**call, {}) != WaitOutcome::kReady) continue;
        if ((*call)->reply().code == StatusCode::kOk && text((*call)->reply().block->image()) == image) ++right;
      }
    });
  for (auto& thread : pool) thread.join();
  CHECK(right == threads * calls);
  CHECK(daemon.violations() == 0);
}

TEST_CASE("8 threads share one client") { call_from_threads(8, 500, 64); }
TEST_CASE("64 threads share one client, over a ring of 16 slots") { call_from_threads(64, 50, 16); }

TEST_CASE("more calls open than the ring has slots") {
  Directory directory;
  FakeDaemon::Options options;
  options.ring_slots = 16;
  FakeDaemon daemon(directory, options);
  Attached app(daemon.socket_path());
  std::vector<stub::CallPtr> calls;
  for (int i = 0; i < 400; ++i) calls.push_back(app.start(kEcho, std::to_string(i)));
  for (int i = 399; i >= 0; --i) CHECK(app.outcome(*calls[i]) == std::to_string(i));
}

TEST_CASE("an interrupt cancels the call, and is looked at in time") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  auto call = app.start(kHang, "x");
  int asked = 0;
  CHECK(app.client->wait(*call, [&] { return ++asked == 3; }) == WaitOutcome::kInterrupted);
  CHECK(call->done());
  CHECK(call->reply().code == StatusCode::kCancelled);
  until([&] { return daemon.cancels() == 1; });
  CHECK(app.call(kEcho, "after") == "after");
}

TEST_CASE("another thread cancels a call that is waited for, by the leader and by a follower") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  std::vector<stub::CallPtr> calls{app.start(kHang, "x"), app.start(kHang, "y")};
  std::vector<std::thread> waiting;
  for (auto& call : calls) waiting.emplace_back([&] { app.client->wait(*call, {}); });
  for (auto& call : calls) app.client->cancel(*call);
  for (auto& thread : waiting) thread.join();
  for (auto& call : calls) CHECK(call->reply().code == StatusCode::kCancelled);
}

TEST_CASE("a daemon that forgets a deadline does not hold the caller for ever") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  stub::CallOptions options;
  options.deadline_ns = stub::now_ns() + 1'000'000;
  CHECK(app.call(kHang, "x", options).substr(0, 2) == "4 ");
  until([&] { return daemon.cancels() == 1; });
}

TEST_CASE("callbacks without an event loop are run by a thread of the client's") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  std::atomic<int> done{0};
  std::vector<stub::CallPtr> calls;
  for (int i = 0; i < 100; ++i) {
    stub::CallOptions options;
    options.on_done = [&] { ++done; };
    calls.push_back(app.start(kEcho, "x", options));
    if (i % 3 == 0) CHECK(app.call(kEcho, "between") == "between");
  }
  until([&] { return done == 100; });
  for (auto& call : calls) CHECK(call->reply().code == StatusCode::kOk);
}

}  // namespace
}  // namespace mrpc::test
