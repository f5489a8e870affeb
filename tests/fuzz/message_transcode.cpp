// Any bytes as protobuf. What from_protobuf makes of them verifies, and is its own canonical form.
// The first byte chooses the message.
#include "message/fixture.h"
#include "message_walk.h"

using namespace mrpc::message;

namespace {

const MessageLayout& choose(uint8_t choice) {
  static const auto legacy = test::parse_set(test::kLegacySet);
  return choice & 1 ? *legacy->message("test.legacy.Order") : test::layout("test.Everything");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const MessageLayout& layout = choose(data[0]);
  const Limits limits{.message_bytes_max = 1 << 20};
  test::Bytes image, bytes, again;
  if (!from_protobuf(layout, std::as_bytes(std::span(data + 1, size - 1)), limits, image).ok()) return 0;
  MRPC_ASSERT(image.size() <= limits.message_bytes_max);
  MRPC_ASSERT(verify(layout, image, {}, limits).ok());
  test::ImageWalk(image.size()).message(root_view(layout, image));
  to_protobuf(layout, image, bytes);
  MRPC_ASSERT(from_protobuf(layout, bytes, {}, again).ok());
  MRPC_ASSERT(again == image);
  return 0;
}
