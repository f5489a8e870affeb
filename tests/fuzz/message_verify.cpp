// Any bytes as an image. One that verifies can be read without leaving it, and protobuf and back give the same image, but for
// padding and for unknown fields: of these the first way back may make known ones, and the second must change nothing more.
// The first byte chooses the message and how many of the last bytes are a segment.
#include "message/fixture.h"
#include "message_walk.h"
#include "shm/abi.h"

using namespace mrpc::message;

namespace {

const MessageLayout& choose(uint8_t choice) {
  static const auto legacy = test::parse_set(test::kLegacySet);
  switch (choice & 3) {
    case 0: return test::layout("test.Everything");
    case 1: return test::layout("test.Small");
    case 2: return *legacy->message("test.legacy.Order");
    default: return test::layout("test.Echo");
  }
}

test::Bytes back(const MessageLayout& layout, const test::Bytes& image) {
  test::Bytes bytes, again, relayed;
  to_protobuf(layout, image, bytes);
  MRPC_ASSERT(from_protobuf(layout, bytes, {}, again).ok());
  MRPC_ASSERT(verify(layout, again, {}, {}).ok());
  MRPC_ASSERT(relay(layout, image, layout, {}, relayed).ok());
  MRPC_ASSERT(test::wire_of(layout, relayed) == test::wire_of(layout, again));
  return again;
}

void with_segment(const MessageLayout& layout, std::span<const std::byte> bytes, size_t segment_bytes) {
  const std::vector<std::byte> inline_part(bytes.begin(), bytes.end() - static_cast<ptrdiff_t>(segment_bytes));
  const uint64_t lengths[] = {segment_bytes};
  if (!verify(layout, inline_part, lengths, {}).ok()) return;
  test::Bytes whole = inline_part;
  whole.resize(mrpc::abi::align_up(whole.size(), mrpc::abi::kBlobAlign));
  whole.insert(whole.end(), bytes.end() - static_cast<ptrdiff_t>(segment_bytes), bytes.end());
  MRPC_ASSERT(whole.size() == image_bytes(inline_part.size(), lengths));
  test::ImageWalk(whole.size()).message(root_view(layout, whole));
  back(layout, whole);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const MessageLayout& layout = choose(data[0]);
  const auto bytes = std::as_bytes(std::span(data + 1, size - 1));
  const size_t segment_bytes = data[0] >> 2;
  if (segment_bytes > 0 && segment_bytes <= bytes.size()) return with_segment(layout, bytes, segment_bytes), 0;

  const test::Bytes image(bytes.begin(), bytes.end());
  const auto verified = verify(layout, image, {}, {});
  if (!verified.ok()) return 0;
  test::ImageWalk walk(image.size());
  walk.message(root_view(layout, image));
  const test::Bytes once = back(layout, image);
  if (!verified->has_unknown) MRPC_ASSERT(walk.equal(image, once));
  MRPC_ASSERT(back(layout, once) == once);
  return 0;
}
