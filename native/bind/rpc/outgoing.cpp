#include "bind/rpc/outgoing.h"

namespace mrpc::bind {
namespace {

bool exhausted(const char* what, uint64_t bytes, uint64_t limit, const char* remedy) {
  raise(resource_exhausted(std::string(what) + " of " + std::to_string(bytes) + " bytes is over the limit of " +
                           std::to_string(limit) + "; " + remedy));
  return false;
}

}  // namespace

bool check_limits(const Outgoing& outgoing, uint64_t image_bytes, uint64_t message_bytes_max, uint32_t metadata_bytes_max) {
  if (image_bytes > message_bytes_max)
    return exhausted("a message", image_bytes, message_bytes_max, "send less, or raise the daemon's message limit");
  if (outgoing.metadata && outgoing.metadata->bytes() > metadata_bytes_max)
    return exhausted("metadata", outgoing.metadata->bytes(), metadata_bytes_max, "put large values into the message");
  if (outgoing.details_size() > abi::kDetailsBytesMax)
    return exhausted("a status", outgoing.details_size(), abi::kDetailsBytesMax, "shorten its details");
  return true;
}

void write_block(stub::SendBlock& block, const shm::BlockShape& shape, const Outgoing& outgoing, const EncodePlan& plan,
                 std::vector<stub::Pinned>& pins) {
  shm::BlockWriter writer(block.data(), shape);
  for (uint32_t i = 0; i < pins.size(); ++i) writer.segment(i, pins[i].segment);
  if (shape.metadata_bytes) writer.metadata(outgoing.metadata->pairs());
  if (shape.details_bytes) writer.details(outgoing.details, outgoing.rich_bytes());
  if (outgoing.message) encode(outgoing.message, plan, writer.image());
  for (stub::Pinned& pin : pins) block.pin(std::move(pin));
  writer.finish();
}

}  // namespace mrpc::bind
