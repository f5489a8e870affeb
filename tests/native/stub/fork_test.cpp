#include <thread>

#include "stub/fixture.h"

namespace mrpc::test {
namespace {

TEST_CASE("a child is refused on what it inherited, and can attach for itself") {
  Directory directory;
  FakeDaemon daemon(directory);
  auto app = std::make_optional<Attached>(daemon.socket_path());
  auto done = app->start(kEcho, "inherited");
  REQUIRE(app->outcome(*done) == "inherited");
  auto open = app->start(kHang, "x");
  auto buffer = *app->client->allocate_buffer(4096);
  auto server = *stub::Server::attach({daemon.socket_path(), "", ""});
  std::thread busy([&] { app->client->wait(*open, {}); });  // holds whatever a waiting thread holds

  CHECK(in_child([&] {
    return app->client->allocate(64).error().code == StatusCode::kFailedPrecondition &&
           app->client->bind(kSchema, "x", "").error().code == StatusCode::kFailedPrecondition &&
           server->offer(kSchema, "x").error().code == StatusCode::kFailedPrecondition;
  }));
  CHECK(in_child([&] { return text(done->reply().block->image()) == "inherited"; }));
  CHECK(in_child([&] {
    app->client->cancel(*open);
    app->client->wait(*open, {});
    stub::IncomingPtr incoming;
    return open->reply().code == StatusCode::kFailedPrecondition && server->next(incoming, {}) == stub::NextOutcome::kStopped;
  }));
  CHECK(in_child([&] {  // finalizers touch no ring and take no lock
    app.reset();
    done.reset();
    open.reset();
    buffer.reset();
    server.reset();
    return true;
  }));
  CHECK(in_child([&] {
    auto own = stub::Client::attach({daemon.socket_path(), "child", ""});
    if (!own.ok()) return false;
    auto service = (*own)->bind(kSchema, "test.Service", "");
    const shm::BlockShape shape{0, 0, 0, 5};
    auto block = (*own)->allocate(shm::block_bytes(shape));
    shm::BlockWriter writer(block->data(), shape);
    std::memcpy(writer.image(), "child", 5);
    writer.finish();
    auto call = (*own)->start(*service, kEcho, std::move(*block), {});
    (*own)->wait(**call, {});
    return text((*call)->reply().block->image()) == "child";
  }));

  CHECK(app->call(kEcho, "parent") == "parent");
  app->client->cancel(*open);
  busy.join();
  CHECK(daemon.violations() == 0);
}

}  // namespace
}  // namespace mrpc::test
