// A predecessor's state: what decodes must encode to the same bytes.
#include <algorithm>

#include "dataplane/takeover_state.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto state = mrpc::dataplane::decode_takeover(bytes);
  if (!state) return 0;
  const auto again = mrpc::dataplane::encode_takeover(*state);
  MRPC_ASSERT(std::ranges::equal(again, bytes));
  return 0;
}
