// A directory for a daemon's socket, and the little that every test of the stub does with a client.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <optional>
#include <string>

#include "stub/clock.h"
#include "stub/fake_daemon.h"
#include "stub/stub.h"

namespace mrpc::test {

class Directory {
 public:
  Directory() {
    std::strcpy(path_, "/tmp/mrpc-test-XXXXXX");
    REQUIRE(::mkdtemp(path_) != nullptr);
  }
  ~Directory() {
    ::unlink((std::string(path_) + "/app.sock").c_str());
    ::rmdir(path_);
  }
  operator std::string() const { return path_; }

 private:
  char path_[64];
};

constexpr uint64_t kSecondNs = 1'000'000'000;

inline stub::SendBlock write_block(Result<stub::SendBlock> memory, const shm::BlockShape& shape, std::string_view image,
                                   std::string_view message = {}) {
  REQUIRE(memory);
  shm::BlockWriter writer(memory->data(), shape);
  writer.details(message, {});
  std::memcpy(writer.image(), image.data(), image.size());
  REQUIRE(writer.finish() == memory->size());
  return std::move(*memory);
}

inline stub::SendBlock request(stub::Client& client, std::string_view image) {
  const shm::BlockShape shape{0, 0, 0, image.size()};
  return write_block(client.allocate(shm::block_bytes(shape)), shape, image);
}

inline stub::SendBlock answer(stub::Server& server, stub::Incoming& incoming, std::string_view image, std::string_view message = {}) {
  const shm::BlockShape shape{0, 0, shm::details_bytes(message, {}), image.size()};
  return write_block(server.allocate(incoming, shm::block_bytes(shape)), shape, image, message);
}

inline std::string text(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

inline const std::vector<std::byte> kSchema(16);

struct Attached {
  std::shared_ptr<stub::Client> client;
  stub::BoundServicePtr service;

  explicit Attached(const std::string& socket_path, std::string service_name = "test.Service",
                    std::span<const std::byte> schema = kSchema, uint32_t trim_idle_ms = 2000) {
    auto attached = stub::Client::attach({socket_path, "test", "", trim_idle_ms});
    REQUIRE_MESSAGE(attached.ok(), (attached.ok() ? "" : attached.error().text));
    client = std::move(*attached);
    auto bound = client->bind(schema, std::move(service_name), "");
    REQUIRE_MESSAGE(bound.ok(), (bound.ok() ? "" : bound.error().text));
    service = *bound;
  }
  stub::CallPtr start(uint32_t method, std::string_view image, stub::CallOptions options = {}) {
    auto call = client->start(service, method, request(*client, image), std::move(options));
    REQUIRE_MESSAGE(call.ok(), (call.ok() ? "" : call.error().text));
    return *call;
  }
  // The reply's image, or the status' number and message.
  std::string call(uint32_t method, std::string_view image, stub::CallOptions options = {}) {
    return outcome(*start(method, image, std::move(options)));
  }
  std::string outcome(stub::Call& call) {
    CHECK(client->wait(call, {}) == stub::WaitOutcome::kReady);
    const auto& reply = call.reply();
    if (reply.code != StatusCode::kOk) return std::to_string(static_cast<int>(reply.code)) + " " + std::string(reply.message());
    return text(reply.block->image());
  }
};

// Runs `body` in a forked child; true when it returned true. Nothing of doctest's may run there.
template <typename Body>
bool in_child(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    ::_exit(body() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Until `condition` holds; the test's own timeout is the limit.
template <typename Condition>
void until(const Condition& condition) {
  const uint64_t give_up = stub::now_ns() + 20 * kSecondNs;
  while (!condition()) {
    REQUIRE(stub::now_ns() < give_up);
    std::this_thread::yield();
  }
}

}  // namespace mrpc::test
