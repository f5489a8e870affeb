// Any bytes as an image of an index, or as the tree of a tenant that rests. The first byte chooses: 0 an image as it stands, 1 one whose checksums
// are put right first, so that what lies behind them is reached; else a blob for reload(). What is taken passes check(), and goes on working.
#include <algorithm>
#include <cstring>
#include <string>

#include "base/assert.h"
#include "checksum.h"
#include "index.h"

using namespace curator;

namespace {

constexpr size_t kHeaderBytes = 64;

void put_right(std::string& image) {
  if (image.size() < kHeaderBytes) return;
  const uint64_t header = checksum(image.data(), kHeaderBytes - 8);
  std::memcpy(image.data() + kHeaderBytes - 8, &header, 8);
  for (size_t at = kHeaderBytes; at + 16 <= image.size();) {
    uint64_t length;
    std::memcpy(&length, image.data() + at, 8);
    if (length > image.size() - at - 16) return;
    const uint64_t sum = checksum(image.data() + at + 16, length);
    std::memcpy(image.data() + at + 8, &sum, 8);
    at += 16 + length;
  }
}

void use(Index& index) {
  MRPC_ASSERT(index.check().ok());
  const std::vector<float> row(index.options().dim, 1.0f);
  const VectorId id = 0xF00D;
  const TenantId tenant = 77;
  if (index.insert({&id, 1}, row.data(), {&tenant, 1}).ok()) MRPC_ASSERT(index.remove({&id, 1}).ok());
  MRPC_ASSERT(index.check().ok());
}

void reload(std::string_view blob) {
  Options options;
  options.dim = 2;
  Index index(options);
  const VectorId ids[] = {3, 5, 8};
  const TenantId owners[] = {7, 7, 9};
  const float rows[] = {1, 2, 3, 4, 5, 6};
  MRPC_ASSERT(index.insert(ids, rows, owners).ok());
  MRPC_ASSERT(index.unload(7).ok());
  std::string mended(blob);
  if (mended.size() >= 16) {
    const uint64_t sum = checksum(mended.data() + 16, mended.size() - 16);
    std::memcpy(mended.data() + 8, &sum, 8);
  }
  (void)index.reload(7, mended).ok();
  MRPC_ASSERT(index.check().ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] > 1) return reload(bytes), 0;
  if (data[0] == 1) put_right(bytes);
  const auto index = Index::from_image(bytes);
  if (index.ok()) use(**index);
  return 0;
}
