// Event loops: what asyncio does with the descriptors.
#include <poll.h>

#include <thread>

#include "stub/fixture.h"

namespace mrpc::test {
namespace {

// One turn of a loop: waits for the client's descriptors, then drains.
void turn(stub::Client& client) {
  if (!client.arm()) {
    client.drain(16);
    return;
  }
  pollfd entries[2] = {{client.wake_fd(), POLLIN, 0}, {client.control_fd(), POLLIN, 0}};
  REQUIRE(::poll(entries, 2, 20'000) > 0);
  if (entries[1].revents != 0) client.check_daemon();
  while (client.drain(16) == 16) {
  }
}

TEST_CASE("an event loop alone") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  app.client->arm();
  int done = 0;
  for (int i = 0; i < 300; ++i) {
    stub::CallOptions options;
    options.on_done = [&] { ++done; };
    app.start(kEcho, "x", options);
    if (i % 7 == 0) turn(*app.client);
  }
  while (done < 300) turn(*app.client);
  app.client->disarm();
}

TEST_CASE("an event loop beside threads that wait") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  app.client->arm();
  std::vector<std::thread> threads;
  std::atomic<int> right{0}, done{0};
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        auto call = app.client->start(app.service, kEcho, request(*app.client, "y"), {});
        if (call.ok() && app.client->wait(**call, {}) == stub::WaitOutcome::kReady && (*call)->reply().code == StatusCode::kOk) ++right;
      }
    });
  for (int i = 0; i < 200; ++i) {
    stub::CallOptions options;
    options.on_done = [&] { ++done; };
    app.start(kEcho, "x", options);
    until([&] {  // whoever leads delivers it; the loop, when nobody does
      app.client->drain(16);
      return done == i + 1;
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 1600);
  stub::CallOptions options;
  options.on_done = [&] { ++done; };
  app.start(kEcho, "x", options);
  while (done < 201) turn(*app.client);  // the last leader has armed the descriptor again
}

TEST_CASE("an event loop hears of the daemon's death") {
  Directory directory;
  auto daemon = std::make_optional<FakeDaemon>(directory);
  Attached app(daemon->socket_path());
  app.client->arm();
  bool done = false;
  stub::CallOptions options;
  options.on_done = [&] { done = true; };
  auto call = app.start(kHang, "x", options);
  const uint64_t epoch = app.client->epoch();
  daemon.reset();
  while (!done) turn(*app.client);
  CHECK(call->reply().code == StatusCode::kUnavailable);
  daemon.emplace(directory);
  CHECK(app.call(kEcho, "y") == "y");
  CHECK(app.client->epoch() != epoch);
}

}  // namespace
}  // namespace mrpc::test
