// Any bytes as a FileDescriptorSet: an error or a schema whose every layout carries an empty message there and back.
#include "message/fixture.h"

using namespace mrpc::message;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto schema = Schema::parse(std::as_bytes(std::span(data, size)));
  if (!schema.ok()) return 0;
  for (const auto& service : (*schema)->services()) {
    for (const auto& method : service->methods) {
      test::Bytes image;
      MRPC_ASSERT(from_protobuf(*method.request, {}, {}, image).ok());
      MRPC_ASSERT(verify(*method.request, image, {}, {}).ok());
      MRPC_ASSERT(test::wire_of(*method.request, image).empty());
    }
  }
  return 0;
}
