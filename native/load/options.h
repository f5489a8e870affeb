// The native program's command line. The Python front (`mrpc load`) is what people use; it writes files for what does not
// fit an argument.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace mrpc::load {

struct Options {
  std::string target;         // http://host:port, grpc://host:port/pkg.Service/Method, mrpc:///pkg.Service/Method
  double rate = 0;            // calls a second; open loop
  uint32_t closed = 0;        // calls in flight; closed loop
  double duration_s = 10;     // after the warm-up
  uint64_t count = 0;         // calls after the warm-up; 0: as many as fit the duration
  double warmup_s = 1;
  double drain_s = 10;        // how long after the end late sends and replies are waited for
  double timeout_s = 20;      // of one call, from its actual send
  uint32_t connections = 1;   // of each thread
  uint32_t threads = 1;
  uint32_t in_flight_max = 1024;  // of each thread; further calls wait, and their wait counts
  uint64_t seed = 1;          // of the order in which requests are drawn
  uint64_t late_us = 1000;    // a send this long after its intended time is counted as late
  bool spin = false;          // busy-wait the last microseconds before a send
  bool progress = false;      // JSON lines on stderr
  std::string requests_file;  // http: lines of METHOD PATH
  std::string payloads_file;  // grpc, mrpc: records of {u32 length, protobuf bytes}
  std::string schema_file;    // mrpc: serialised google.protobuf.FileDescriptorSet
  std::vector<std::pair<std::string, std::string>> metadata;  // headers of each call
  std::string null_server;    // be the null server instead, on this loopback port
};

// Errors: kInvalidArgument with the option's name.
Result<Options> parse_options(int argc, char** argv);

}  // namespace mrpc::load
