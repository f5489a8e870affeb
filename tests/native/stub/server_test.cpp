#include <poll.h>

#include <functional>
#include <thread>

#include "stub/fixture.h"

namespace mrpc::test {
namespace {

using stub::IncomingPtr;
using stub::NextOutcome;
using Handler = std::function<void(stub::Server&, stub::Incoming&)>;

void echo(stub::Server& server, stub::Incoming& incoming) {
  REQUIRE(server.reply(incoming, StatusCode::kOk, answer(server, incoming, text(incoming.request()->image())), true));
}

// A server with worker threads.
class Pool {
 public:
  Pool(const std::string& path, int workers, Handler handler) {
    auto attached = stub::Server::attach({path, "server", ""});
    REQUIRE(attached);
    server = *attached;
    REQUIRE(server->offer(kSchema, "test.Service").ok());
    for (int i = 0; i < workers; ++i)
      threads_.emplace_back([this, handler] {
        IncomingPtr incoming;
        while (server->next(incoming, {}) == NextOutcome::kCall) handler(*server, *incoming);
      });
  }
  ~Pool() { stop(kSecondNs); }
  void stop(uint64_t grace_ns) {
    server->stop(grace_ns);
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  std::shared_ptr<stub::Server> server;

 private:
  std::vector<std::thread> threads_;
};

TEST_CASE("calls reach a server and come back, with many workers and callers") {
  Directory directory;
  FakeDaemon daemon(directory);
  Pool pool(daemon.socket_path(), 4, echo);
  Attached app(daemon.socket_path());
  std::vector<std::thread> callers;
  std::atomic<int> right{0};
  for (int t = 0; t < 8; ++t)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        auto call = app.client->start(app.service, kEcho, request(*app.client, "ping"), {});
        if (call.ok() && app.client->wait(**call, {}) == stub::WaitOutcome::kReady && text((*call)->reply().block->image()) == "ping") ++right;
      }
    });
  for (auto& caller : callers) caller.join();
  CHECK(right == 1600);
  CHECK(daemon.violations() == 0);
}

TEST_CASE("an incoming call tells its method, deadline and metadata; a failure carries its text") {
  Directory directory;
  FakeDaemon daemon(directory);
  Pool pool(daemon.socket_path(), 1, [](stub::Server& server, stub::Incoming& incoming) {
    const std::string told = std::to_string(incoming.service()) + " " + std::to_string(incoming.method()) + " " + std::to_string(incoming.deadline_ns());
    REQUIRE(server.reply(incoming, StatusCode::kAborted, answer(server, incoming, "", told), false));
  });
  Attached app(daemon.socket_path());
  stub::CallOptions options;
  options.deadline_ns = stub::now_ns() + 100 * kSecondNs;
  CHECK(app.call(2, "x", options) == "10 0 2 " + std::to_string(options.deadline_ns));
}

TEST_CASE("a cancelled call is told to its handler, though all workers are busy") {
  Directory directory;
  FakeDaemon daemon(directory);
  std::atomic<bool> entered{false}, flagged{false}, called_back{false};
  Pool pool(daemon.socket_path(), 1, [&](stub::Server& server, stub::Incoming& incoming) {
    incoming.on_cancel([&] { called_back = true; });
    entered = true;
    while (!called_back) std::this_thread::yield();  // the watcher finds it
    flagged = incoming.cancelled();
    CHECK(server.reply(incoming, StatusCode::kOk, {}, false).ok());  // too late, and no harm
  });
  Attached app(daemon.socket_path());
  auto call = app.start(kEcho, "x");
  until([&] { return entered.load(); });
  app.client->cancel(*call);
  until([&] { return flagged.load(); });
}

TEST_CASE("a bidirectional stream: order, credits, half-close") {
  Directory directory;
  FakeDaemon daemon(directory);
  constexpr uint32_t kMessages = 200;
  Pool pool(daemon.socket_path(), 2, [](stub::Server& server, stub::Incoming& incoming) {
    const auto send_back = [&](const stub::Message& message) {
      server.wait_credit(incoming, {});
      REQUIRE(server.send_message(incoming, answer(server, incoming, text(message.block->image()))));
    };
    CHECK(text(incoming.request()->image()) == "first");
    for (;;) {
      server.wait_message(incoming, {});
      if (auto message = server.receive(incoming)) send_back(*message);
      else if (incoming.half_closed()) break;
    }
    CHECK(server.reply(incoming, StatusCode::kOk, answer(server, incoming, ""), false).ok());
  });
  Attached app(daemon.socket_path());
  stub::CallOptions options;
  options.end = false;
  auto call = app.start(kEcho, "first", options);
  std::thread sender([&] {
    for (uint32_t i = 0; i < kMessages; ++i) {
      app.client->wait_credit(*call, {});
      REQUIRE(app.client->send_message(*call, request(*app.client, std::to_string(i)), false));
    }
    REQUIRE(app.client->half_close(*call));
  });
  for (uint32_t i = 0; i < kMessages; ++i) {
    app.client->wait_message(*call, {});
    auto message = app.client->receive(*call);
    REQUIRE(message);
    CHECK(message->sequence == i);
    CHECK(text(message->block->image()) == std::to_string(i));
  }
  app.client->wait(*call, {});
  sender.join();
  CHECK(call->reply().code == StatusCode::kOk);
  CHECK(daemon.violations() == 0);
}

TEST_CASE("without credit a message is refused, not queued") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  stub::CallOptions options;
  options.end = false;
  auto call = app.start(kHang, "", options);
  for (uint32_t i = 0; i < abi::kStreamWindow; ++i) REQUIRE(app.client->send_message(*call, request(*app.client, "m"), false));
  CHECK(app.client->send_message(*call, request(*app.client, "m"), false).error().code == StatusCode::kResourceExhausted);
  app.client->cancel(*call);
  CHECK(app.client->send_message(*call, request(*app.client, "m"), false).error().code == StatusCode::kCancelled);
}

TEST_CASE("stop finishes what is open, and workers leave") {
  Directory directory;
  FakeDaemon daemon(directory);
  std::atomic<bool> entered{false}, go{false};
  Pool pool(daemon.socket_path(), 2, [&](stub::Server& server, stub::Incoming& incoming) {
    entered = true;
    while (!go) std::this_thread::yield();
    echo(server, incoming);
  });
  Attached app(daemon.socket_path());
  auto call = app.start(kEcho, "last");
  until([&] { return entered.load(); });
  std::thread stopping([&] { pool.stop(20 * kSecondNs); });
  go = true;
  CHECK(app.outcome(*call) == "last");
  stopping.join();
  IncomingPtr incoming;
  CHECK(pool.server->next(incoming, {}) == NextOutcome::kStopped);
}

TEST_CASE("the daemon dies and returns: the server offers anew") {
  Directory directory;
  auto daemon = std::make_optional<FakeDaemon>(directory);
  Pool pool(daemon->socket_path(), 2, echo);
  Attached app(daemon->socket_path());
  CHECK(app.call(kEcho, "before") == "before");
  const uint64_t epoch = pool.server->epoch();
  daemon.reset();
  daemon.emplace(directory);
  until([&] { return pool.server->epoch() > epoch; });
  until([&] { return app.call(kHang, "after") == "after"; });  // a call just then may still meet the old daemon's end
}

TEST_CASE("an event loop serves") {
  Directory directory;
  FakeDaemon daemon(directory);
  auto server = *stub::Server::attach({daemon.socket_path(), "loop", ""});
  REQUIRE(server->offer(kSchema, "test.Service").ok());
  Attached app(daemon.socket_path());
  std::thread caller([&] {
    for (int i = 0; i < 100; ++i) CHECK(app.call(kEcho, "x") == "x");
  });
  std::vector<IncomingPtr> calls;
  for (int served = 0; served < 100;) {
    if (server->arm()) {
      pollfd entry{server->wake_fd(), POLLIN, 0};
      REQUIRE(::poll(&entry, 1, 20'000) == 1);
    }
    server->drain(8, calls);
    for (auto& call : calls) echo(*server, *call), ++served;
    calls.clear();
  }
  caller.join();
}

}  // namespace
}  // namespace mrpc::test
