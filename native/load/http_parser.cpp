#include "load/http_parser.h"

#include <algorithm>
#include <charconv>
#include <strings.h>

namespace mrpc::load {
namespace {

bool equals(std::string_view a, std::string_view b) { return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

bool parse(std::string_view text, uint64_t& out, int base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc{} && end == text.data() + text.size();
}

}  // namespace

void HttpParser::reset(bool head_request) {
  state_ = State::kStatusLine;
  line_.clear();
  body_left_ = 0;
  head_request_ = head_request;
  started_ = chunked_ = has_length_ = false;
  keep_alive_ = true;
  status_ = 0;
}

// Moves bytes into line_ until it is whole. False: more input is needed.
bool HttpParser::take_line(std::string_view& input) {
  const size_t end = input.find('\n');
  line_.append(input.substr(0, end));
  input.remove_prefix(end == std::string_view::npos ? input.size() : end + 1);
  return end != std::string_view::npos;
}

Status HttpParser::consume(std::string_view& input) {
  started_ |= !input.empty();
  while (!input.empty() && state_ != State::kDone) {
    if (state_ == State::kUntilClose) {
      input = {};
    } else if (state_ == State::kBody || state_ == State::kChunk) {
      const uint64_t take = std::min<uint64_t>(body_left_, input.size());
      input.remove_prefix(take);
      body_left_ -= take;
      if (body_left_ == 0) state_ = state_ == State::kBody ? State::kDone : State::kChunkEnd;
    } else {
      const bool whole = take_line(input);
      if (line_.size() > kLineBytesMax) return internal_error("HTTP line is too long");
      if (!whole) break;
      if (Status s = on_line(); !s) return s;
      line_.clear();
    }
  }
  return ok_status();
}

Status HttpParser::on_line() {
  const std::string_view line = trim(line_);
  switch (state_) {
    case State::kStatusLine: return status_line(line);
    case State::kHeader: return line.empty() ? body_begins() : header(line);
    case State::kChunkSize: return chunk_size(line);
    case State::kChunkEnd: state_ = State::kChunkSize; return ok_status();
    default: if (line.empty()) state_ = State::kDone; return ok_status();  // trailer
  }
}

Status HttpParser::status_line(std::string_view line) {
  uint64_t status = 0;
  const bool ok = line.starts_with("HTTP/1.") && line.size() >= 12 && parse(line.substr(9, 3), status, 10) && status >= 100 && status < 600;
  if (!ok) return internal_error("not an HTTP/1.1 reply");
  status_ = static_cast<uint16_t>(status);
  if (line.starts_with("HTTP/1.0")) keep_alive_ = false;
  state_ = State::kHeader;
  return ok_status();
}

Status HttpParser::header(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return internal_error("malformed HTTP header");
  const std::string_view name = line.substr(0, colon), value = trim(line.substr(colon + 1));
  if (equals(name, "content-length")) {
    uint64_t length = 0;
    if (!parse(value, length, 10) || (has_length_ && length != body_left_)) return internal_error("malformed Content-Length");
    body_left_ = length;
    has_length_ = true;
  } else if (equals(name, "transfer-encoding")) {
    if (!equals(value, "chunked")) return internal_error("unsupported Transfer-Encoding");
    chunked_ = true;
  } else if (equals(name, "connection")) {
    if (equals(value, "close")) keep_alive_ = false;
    if (equals(value, "keep-alive")) keep_alive_ = true;
  }
  return ok_status();
}

Status HttpParser::body_begins() {
  if (status_ < 200) {  // 100 Continue and the like: the reply proper follows
    if (status_ == 101) return internal_error("unexpected protocol switch");
    reset(head_request_);
    started_ = true;
    return ok_status();
  }
  if (head_request_ || status_ == 204 || status_ == 304) state_ = State::kDone;
  else if (chunked_) state_ = State::kChunkSize;
  else if (has_length_) state_ = body_left_ ? State::kBody : State::kDone;
  else { state_ = State::kUntilClose; keep_alive_ = false; }
  return ok_status();
}

Status HttpParser::chunk_size(std::string_view line) {
  const std::string_view size = trim(line.substr(0, line.find(';')));
  if (!parse(size, body_left_, 16)) return internal_error("malformed chunk size");
  state_ = body_left_ ? State::kChunk : State::kTrailer;
  return ok_status();
}

}  // namespace mrpc::load
