// Control packets of an application, u16-length-prefixed in the input: fragments are put together, the first message is a hello.
#include "dataplane/hello.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mrpc::shm::ControlAssembler assembler;
  while (size >= 2) {
    const size_t length = std::min<size_t>(size - 2, size_t{data[0]} | size_t{data[1]} << 8);
    auto message = assembler.feed(std::as_bytes(std::span(data + 2, length)), {});
    if (!message) return 0;
    if (*message) {
      const auto hello = mrpc::dataplane::parse_hello(**message);
      if (hello) MRPC_ASSERT(hello->label.size() <= mrpc::abi::kLabelBytesMax && hello->token.size() <= mrpc::abi::kTokenBytesMax);
    }
    data += 2 + length;
    size -= 2 + length;
  }
  return 0;
}
