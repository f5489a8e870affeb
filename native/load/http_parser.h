// Just enough of HTTP/1.1's replies for a load generator: where a reply ends, its status, and whether the connection
// lives on. Bodies are counted, not kept. Input is hostile.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mrpc::load {

class HttpParser {
 public:
  // Makes ready for the reply to a request; replies to HEAD have no body.
  void reset(bool head_request);
  // Takes bytes off the front of `input` up to the end of the reply. Errors: kInternal, and the connection is of no more use.
  Status consume(std::string_view& input);
  // The peer closed: true when that is how this reply ends.
  bool ends_with_connection() const { return state_ == State::kUntilClose; }

  bool done() const { return state_ == State::kDone; }
  bool started() const { return started_; }
  bool keep_alive() const { return keep_alive_; }
  uint16_t status() const { return status_; }

 private:
  enum class State : uint8_t { kStatusLine, kHeader, kBody, kChunkSize, kChunk, kChunkEnd, kTrailer, kUntilClose, kDone };

  bool take_line(std::string_view& input);
  Status on_line();
  Status status_line(std::string_view line);
  Status header(std::string_view line);
  Status body_begins();
  Status chunk_size(std::string_view line);

  static constexpr size_t kLineBytesMax = 64 * 1024;

  State state_ = State::kStatusLine;
  std::string line_;
  uint64_t body_left_ = 0;
  bool head_request_ = false, started_ = false, keep_alive_ = true, chunked_ = false, has_length_ = false;
  uint16_t status_ = 0;
};

}  // namespace mrpc::load
