// Two daemons joined over the loopback, both stepped by hand; clients call near, servers serve far.
#pragma once

#include <poll.h>

#include "dataplane/rig.h"

namespace mrpc::dataplane::testing {

struct Peers {
  Rig near, far;
  uint64_t link = 0;

  explicit Peers(Config near_config = named("near"), Config far_config = named("far")) : near(std::move(near_config)), far(std::move(far_config)) {
    near.shard.remove_port(1, "its service is offered far away");
    const auto address = far.shard.listen("127.0.0.1:0");
    REQUIRE(address.ok());
    const auto made = near.shard.connect_peer(*address);
    REQUIRE(made.ok());
    link = *made;
    for (int i = 0; i < 1000 && !joined(); ++i) settle();
    REQUIRE(joined());
  }
  static Config named(const std::string& node) {
    Config config;
    config.node = node;
    return config;
  }
  bool joined() {
    const ServiceEntry* entry = near.shard.directory.find("test.Echo");
    return entry != nullptr && !entry->endpoints.empty();
  }

  // Turns both until neither has anything left to do and nothing is on its way between them.
  void settle(bool near_jobs = true, bool far_jobs = true) {
    for (int quiet = 0; quiet < 3;) {
      near.settle(near_jobs);
      far.settle(far_jobs);
      pollfd sockets[2] = {{near.shard.tcp_fd(), POLLIN, 0}, {far.shard.tcp_fd(), POLLIN, 0}};
      const bool due = near.shard.next_wake_ns() <= near.world.now || far.shard.next_wake_ns() <= far.world.now;
      quiet = !due && ::poll(sockets, 2, 1) == 0 ? quiet + 1 : 0;
    }
  }
};

}  // namespace mrpc::dataplane::testing
