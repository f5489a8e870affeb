// The client frozen at level 1 (tests/compat) against a daemon built from today's headers.
#include <cstdlib>

#include "stub/fixture.h"

namespace mrpc::test {
namespace {

TEST_CASE("the level-1 client makes an echo call") {
  Directory directory;
  FakeDaemon daemon(directory);
  const std::string command = std::string(ABI1_CLIENT) + " " + daemon.socket_path() + " test.Service";
  CHECK(std::system(command.c_str()) == 0);
  CHECK(daemon.violations() == 0);
}

}  // namespace
}  // namespace mrpc::test
