// Errors as values. An error is a gRPC status code plus text that says what to do next; it is the only
// error type of the native tree, so that mapping to a status happens once, at the edge of a call.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include "base/assert.h"
#include "base/status_code.h"

namespace mrpc {

struct Error {
  StatusCode code = StatusCode::kUnknown;
  std::string text;
};

inline Error invalid_argument(std::string text) { return {StatusCode::kInvalidArgument, std::move(text)}; }
inline Error resource_exhausted(std::string text) { return {StatusCode::kResourceExhausted, std::move(text)}; }
inline Error unavailable(std::string text) { return {StatusCode::kUnavailable, std::move(text)}; }
inline Error internal_error(std::string text) { return {StatusCode::kInternal, std::move(text)}; }

// Either a value or an Error. Reading the wrong side is a bug and stops the process.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }

  T& value() & { MRPC_ASSERT(ok()); return std::get<0>(state_); }
  const T& value() const& { MRPC_ASSERT(ok()); return std::get<0>(state_); }
  T&& value() && { MRPC_ASSERT(ok()); return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const { MRPC_ASSERT(!ok()); return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Unit {};
using Status = Result<Unit>;
inline Status ok_status() { return Unit{}; }

}  // namespace mrpc
