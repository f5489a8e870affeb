// The attach server's own limits, with real sockets.
#include <doctest/doctest.h>
#include <dirent.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <cstdlib>
#include <filesystem>

#include "dataplane/attach_server.h"

namespace mrpc::dataplane::testing {
namespace {

struct NoShards final : ShardGate {
  void add_port(std::shared_ptr<Attachment>) override {}
  void remove_port(std::shared_ptr<Attachment>, const std::string&) override {}
  void bind(uint32_t, uint32_t, uint32_t, std::vector<std::shared_ptr<BoundMethod>>) override {}
  void offer(uint32_t, uint32_t, std::shared_ptr<const ServiceVariant>) override {}
  void withdraw(uint32_t, const std::string&) override {}
};

rlim_t descriptors_open() {
  rlim_t highest = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    highest = std::max<rlim_t>(highest, std::stoul(entry.path().filename().string()));
  return highest + 1;
}

bool readable(int fd, int timeout_ms) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, timeout_ms) == 1;
}

uint64_t cpu_ns() {
  timespec spent{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return static_cast<uint64_t>(spent.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(spent.tv_nsec);
}

}  // namespace

TEST_CASE("a daemon that is out of descriptors waits for one, says so once, and goes on") {
  char folder[] = "/tmp/mrpc-attach-XXXXXX";
  REQUIRE(::mkdtemp(folder) != nullptr);
  Config config;
  config.socket_path = std::string(folder) + "/app.sock";
  Registrar registrar;
  NoShards shards;
  EventQueue events;
  AttachServer server(config, registrar, shards, events);
  REQUIRE(server.start().ok());
  const Fd application(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  config.socket_path.copy(address.sun_path, sizeof address.sun_path - 1);

  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit none = before;
  none.rlim_cur = descriptors_open();
  std::vector<Fd> filled;  // holes below the highest one
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  for (int fd; (fd = ::dup(0)) >= 0;) filled.emplace_back(fd);
  REQUIRE(::connect(application.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  CHECK(readable(events.fd(), 10'000));
  const uint64_t spent_ns = cpu_ns();
  CHECK_FALSE(readable(application.get(), 300));
  CHECK(cpu_ns() - spent_ns < 100'000'000);  // it sleeps
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);

  const char nonsense[16] = {};
  REQUIRE(::send(application.get(), nonsense, sizeof nonsense, 0) == sizeof nonsense);
  CHECK(readable(application.get(), 10'000));  // it is heard, and told what is wrong
  const auto told = events.drain();
  CHECK(std::count_if(told.begin(), told.end(), [](const auto& event) { return event.text.find("descriptors") != std::string::npos; }) == 1);
  server.stop();
  std::filesystem::remove_all(folder);
}

}  // namespace mrpc::dataplane::testing
