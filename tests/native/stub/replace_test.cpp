// Memory that comes and goes under a live attachment: receive regions, and the rings themselves.
#include <thread>

#include "stub/fixture.h"
#include "stub/process.h"

namespace mrpc::test {
namespace {

TEST_CASE("blocks come from an added region, also before its notice was read") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  CHECK(app.call(kEcho, "first region") == "first region");
  for (uint32_t id = 3; id < 8; ++id) {
    daemon.add_region(id);
    CHECK(app.call(kEcho, "region " + std::to_string(id)) == "region " + std::to_string(id));
  }
  CHECK(daemon.violations() == 0);
}

TEST_CASE("a retired region stays readable, and is given up with its last block") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  const std::string image(100'000, 'r');
  auto kept = app.start(kEcho, image);
  REQUIRE(app.outcome(*kept) == image);
  auto open = app.start(kEcho, "published before the notice");
  daemon.add_region(3);
  daemon.retire_region(abi::kReceiveRegion);
  CHECK(app.outcome(*open) == "published before the notice");
  open.reset();
  CHECK(app.call(kEcho, "from the new region") == "from the new region");
  CHECK(daemon.regions_retired() == 0);
  CHECK(text(kept->reply().block->image()) == image);
  kept.reset();
  until([&] { return daemon.regions_retired() == 1; });
  CHECK(app.call(kEcho, "after") == "after");
  CHECK(daemon.violations() == 0);
}

TEST_CASE("an unused region is given up by the next look at the control socket") {
  Directory directory;
  FakeDaemon daemon(directory);
  Attached app(daemon.socket_path());
  daemon.add_region(3);
  daemon.retire_region(3);
  until([&] {
    app.client->check_daemon();
    (void)app.client->drain(8);
    return daemon.regions_retired() == 1;
  });
  CHECK(daemon.violations() == 0);
}

TEST_CASE("rings are replaced under calls in flight, whoever waits for them") {
  Directory directory;
  FakeDaemon::Options options;
  options.shards = 2;
  FakeDaemon daemon(directory, options);
  auto server = *stub::Server::attach({daemon.socket_path(), "", ""});
  REQUIRE(server->offer(kSchema, "test.Service"));
  Attached app(daemon.socket_path());
  std::vector<std::thread> threads;
  std::atomic<uint32_t> answered{0};
  std::atomic<bool> stop{false};
  for (int i = 0; i < 2; ++i)
    threads.emplace_back([&] {
      stub::IncomingPtr incoming;
      while (server->next(incoming, {}) == stub::NextOutcome::kCall)
        CHECK(server->reply(*incoming, StatusCode::kOk, answer(*server, *incoming, text(incoming->request()->image())), true));
    });
  for (int i = 0; i < 3; ++i)
    threads.emplace_back([&, i] {
      const std::string image(i == 0 ? 40'000 : 40, static_cast<char>('a' + i));
      while (!stop) {
        CHECK(app.call(kEcho, image) == image);
        ++answered;
      }
    });
  for (uint32_t generation = 2; generation < 12; ++generation) {
    daemon.replace_rings();
    until([&] { return daemon.rings_replaced() == 2 * (generation - 1); });
    const uint32_t before = answered;
    until([&] { return answered > before + 20; });
  }
  stop = true;
  for (size_t i = 2; i < threads.size(); ++i) threads[i].join();
  server->stop(0);
  for (int i = 0; i < 2; ++i) threads[i].join();
  CHECK(daemon.violations() == 0);
}

TEST_CASE("a call that was open before the replacement ends over the new rings, and what it held goes back there") {
  Directory directory;
  FakeDaemon daemon(directory);
  auto server = *stub::Server::attach({daemon.socket_path(), "", ""});
  REQUIRE(server->offer(kSchema, "test.Service"));
  Attached app(daemon.socket_path());
  const uint64_t epoch = app.client->epoch();
  auto call = app.start(kEcho, "opened early");
  stub::IncomingPtr incoming;
  REQUIRE(server->next(incoming, {}) == stub::NextOutcome::kCall);
  daemon.replace_rings();
  CHECK(server->reply(*incoming, StatusCode::kOk, answer(*server, *incoming, "answered late"), true));
  incoming.reset();
  std::thread worker([&] { CHECK(server->next(incoming, {}) == stub::NextOutcome::kStopped); });
  CHECK(app.outcome(*call) == "answered late");
  call.reset();
  until([&] { return daemon.rings_replaced() == 2; });
  CHECK(app.client->epoch() != epoch);  // event loops watch another descriptor now
  server->stop(0);
  worker.join();
  until([&] { app.call(kFail, "reclaims go with a submission"); return daemon.receive_bytes() < 4096; });
  CHECK(daemon.violations() == 0);
}

TEST_CASE("a replacement with bad descriptors ends the attachment, and says why") {
  for (const RingFault fault : {RingFault::kUnsealed, RingFault::kTooSmall, RingFault::kTooFew}) {
    Directory directory;
    FakeDaemon daemon(directory);
    Attached app(daemon.socket_path());
    auto call = app.start(kHang, "x");
    daemon.replace_rings(fault);
    const bool few = fault == RingFault::kTooFew;
    CHECK(app.outcome(*call) == (few ? "13 mrpcd replaced the rings: mrpcd sent malformed rings"
                                     : "13 mrpcd replaced the rings: the daemon sent memory that is not sealed or too small"));
    CHECK(app.call(kEcho, "attached anew") == "attached anew");
  }
}

TEST_CASE("versions that do not match are refused on either side, with a text that says what to do") {
  Directory directory;
  FakeDaemon::Options options;
  options.level = 2;
  {
    FakeDaemon newer(directory, options);
    const auto client = stub::Client::attach({newer.socket_path(), "", ""});
    REQUIRE_FALSE(client.ok());
    CHECK(client.error().code == StatusCode::kFailedPrecondition);
    CHECK(client.error().text == "mrpcd speaks shared-memory level 2, this stub 1; install versions that match");
  }
  options.refuse_text = "this mrpcd serves levels 2 to 3, the application speaks 1; upgrade it";
  FakeDaemon refusing(directory, options);
  const auto refused = stub::Server::attach({refusing.socket_path(), "", ""});
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == StatusCode::kFailedPrecondition);
  CHECK(refused.error().text == options.refuse_text);
}

TEST_CASE("an old kernel is named, with what is needed") {
  CHECK(stub::check_kernel("6.5.0-1-amd64").ok());
  CHECK(stub::check_kernel("7.0").ok());
  CHECK(stub::check_kernel("of another world").ok());
  CHECK(stub::check_kernel("6.1.0-18-amd64").error().code == StatusCode::kFailedPrecondition);
  CHECK(stub::check_kernel("5.15.0").error().text == "mRPC needs Linux 6.5 or newer, and this is 5.15.0; 'mrpc check' tells more");
}

}  // namespace
}  // namespace mrpc::test
