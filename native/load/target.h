// The contract between the driver, which decides when calls are sent, and a target, which knows one protocol.
//
// A target belongs to one thread and its epoll instance; nothing in it blocks. The driver names a call by a small number that
// it reuses once the call is complete; the target reports each call's end exactly once through Sink::complete, never from inside
// send() or cancel(), except that cancel() itself ends a call without a report.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "load/options.h"

namespace mrpc::load {

// How a call ended: an HTTP status (100...599), or kStatusBase + a gRPC code, also for what no reply came for.
using Code = uint16_t;
constexpr Code kStatusBase = 1000;
constexpr Code kCodes = kStatusBase + kStatusCodeMax + 1;
constexpr Code code_of(StatusCode status) { return static_cast<Code>(kStatusBase + static_cast<Code>(status)); }
constexpr bool is_success(Code code) { return code == code_of(StatusCode::kOk) || (code >= 200 && code < 400); }
std::string code_label(Code code);

class Sink {
 public:
  virtual void complete(uint32_t call, Code code, std::string_view error) = 0;

 protected:
  ~Sink() = default;
};

class Target {
 public:
  virtual ~Target() = default;
  // How many different requests there are to draw from; at least 1.
  virtual uint32_t request_count() const = 0;
  virtual bool can_send() const = 0;
  virtual void send(uint32_t call, uint32_t request) = 0;
  virtual void cancel(uint32_t call) = 0;
  // One event of the target's descriptors, by the tag that it registered.
  virtual void on_event(uint64_t tag, uint32_t events) = 0;
  // Called in each turn before the driver waits: writes what is pending, reports what has ended. Returns true when the
  // driver must not sleep because more work is at hand.
  virtual bool turn() = 0;
};

// Makes the target of one thread. Errors: kInvalidArgument (URL, files), kUnimplemented (built without that protocol), kUnavailable (name
// does not resolve, no daemon). `sink` and `options` must outlive the target.
using MakeTarget = Result<std::unique_ptr<Target>> (*)(const Options& options, int epoll_fd, Sink& sink);
Result<std::unique_ptr<Target>> make_http_target(const Options& options, int epoll_fd, Sink& sink);
Result<std::unique_ptr<Target>> make_grpc_target(const Options& options, int epoll_fd, Sink& sink);
Result<std::unique_ptr<Target>> make_mrpc_target(const Options& options, int epoll_fd, Sink& sink);

}  // namespace mrpc::load
