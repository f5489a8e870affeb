#include <thread>

#include "stub/fixture.h"

namespace mrpc::test {
namespace {

TEST_CASE("no daemon: the text says what to do") {
  Directory directory;
  const std::string path = std::string(directory) + "/app.sock";
  const auto client = stub::Client::attach({path, "", ""});
  REQUIRE_FALSE(client.ok());
  CHECK(client.error().code == StatusCode::kUnavailable);
  CHECK(client.error().text == "no mrpcd at " + path + "; start it with 'mrpcd', then 'mrpc check'");
  { FakeDaemon stale(directory); }  // leaves its socket behind
  CHECK(stub::Server::attach({path, "", ""}).error().text == client.error().text);
}

TEST_CASE("a refused token") {
  Directory directory;
  FakeDaemon::Options options;
  options.refuse_token = "forged";
  FakeDaemon daemon(directory, options);
  const auto client = stub::Client::attach({daemon.socket_path(), "", "forged"});
  REQUIRE_FALSE(client.ok());
  CHECK(client.error().code == StatusCode::kUnauthenticated);
  CHECK(client.error().text == "token refused");
}

TEST_CASE("the daemon dies: open calls end, whoever waits for them, and the next call attaches anew") {
  Directory directory;
  auto daemon = std::make_optional<FakeDaemon>(directory);
  Attached app(daemon->socket_path());
  std::atomic<bool> called_back{false};
  stub::CallOptions options;
  options.on_done = [&] { called_back = true; };
  std::vector<stub::CallPtr> calls{app.start(kHang, "leader"), app.start(kHang, "follower"), app.start(kHang, "callback", options)};
  std::vector<std::thread> waiting;
  for (int i = 0; i < 2; ++i) waiting.emplace_back([&, i] { app.client->wait(*calls[i], {}); });
  daemon.reset();
  for (auto& thread : waiting) thread.join();
  until([&] { return called_back.load(); });
  for (auto& call : calls) CHECK(call->reply().code == StatusCode::kUnavailable);
  CHECK(app.client->allocate(64).error().code == StatusCode::kUnavailable);
  daemon.emplace(directory);
  CHECK(app.call(kEcho, "anew") == "anew");  // binds anew, too
}

TEST_CASE("a daemon that was restarted while nobody called is noticed before the call") {
  Directory directory;
  auto daemon = std::make_optional<FakeDaemon>(directory);
  Attached app(daemon->socket_path());
  CHECK(app.call(kEcho, "one") == "one");
  daemon.reset();
  daemon.emplace(directory);
  const uint64_t quiet_until = stub::now_ns() + 20'000'000;
  until([&] { return stub::now_ns() > quiet_until; });
  CHECK(app.call(kEcho, "two") == "two");
}

TEST_CASE("the daemon ends a rogue: its calls carry the daemon's reason") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  auto call = app.start(kHang, "x");
  daemon.end_attachments(StatusCode::kPermissionDenied, "you broke a ring");
  CHECK(app.outcome(*call) == "7 you broke a ring");
}

TEST_CASE("blocks and buffers outlive their daemon and their client") {
  Directory directory;
  auto daemon = std::make_optional<FakeDaemon>(directory);
  auto app = std::make_optional<Attached>(daemon->socket_path());
  auto call = app->start(kEcho, "kept");
  CHECK(app->outcome(*call) == "kept");
  auto buffer = *app->client->allocate_buffer(4096);
  daemon.reset();
  app.reset();
  CHECK(text(call->reply().block->image()) == "kept");
  std::memset(buffer->bytes().data(), 1, 4096);
}

TEST_CASE("a client that is dropped ends its calls") {
  Directory directory;
  FakeDaemon daemon(directory);
  auto app = std::make_optional<Attached>(daemon.socket_path());
  auto call = app->start(kHang, "x");
  app.reset();
  REQUIRE(call->done());
  CHECK(call->reply().code == StatusCode::kCancelled);
}

}  // namespace
}  // namespace mrpc::test
