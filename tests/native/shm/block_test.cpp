#include "shm/block.h"

#include <doctest/doctest.h>

#include <random>

namespace mrpc::shm {
namespace {

struct alignas(64) Memory {
  std::byte bytes[4096];
};

std::span<const std::byte> as_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

// A block with everything in it; returns its length.
uint64_t write_example(Memory& memory) {
  const MetadataPair pairs[] = {{"user-agent", "test"}, {"x-empty", ""}, {"blob-bin", std::string_view("\0\1\2", 3)}};
  const auto rich = as_bytes("rich");
  const BlockShape shape{2, metadata_bytes(pairs), details_bytes("not found", rich), 24};
  REQUIRE(block_bytes(shape) <= sizeof memory.bytes);
  BlockWriter writer(memory.bytes, shape);
  writer.metadata(pairs);
  writer.details("not found", rich);
  writer.segment(0, {4096, 100, abi::kSendRegion, 0});
  writer.segment(1, {8192, 7, abi::kReceiveRegion, 0});
  std::memset(writer.image(), 0x5a, 24);
  return writer.finish();
}

TEST_CASE("what was written is read back") {
  Memory memory;
  const uint64_t length = write_example(memory);
  const auto block = BlockReader::parse({memory.bytes, length}, length, {});
  REQUIRE(block);
  CHECK(block->header().image_bytes == 192 + 7);  // 24 -> 64, + 100 -> 192, + 7
  CHECK(block->segment_count() == 2);
  CHECK(block->segment(1).offset == 8192);
  CHECK(block->segment(1).region == abi::kReceiveRegion);
  CHECK(block->status_message() == "not found");
  CHECK(block->rich_status().size() == 4);
  CHECK(block->inline_image().size() == 24);
  CHECK(block->inline_image()[23] == std::byte{0x5a});
  MetadataReader metadata(block->metadata());
  MetadataPair pair;
  REQUIRE(metadata.next(pair));
  CHECK(pair.key == "user-agent");
  REQUIRE(metadata.next(pair));
  CHECK(pair.value.empty());
  REQUIRE(metadata.next(pair));
  CHECK(pair.value == std::string_view("\0\1\2", 3));
  CHECK_FALSE(metadata.next(pair));
}

TEST_CASE("the head alone can be read, without the image") {
  Memory memory;
  const uint64_t length = write_example(memory);
  abi::BlockHeader header;
  std::memcpy(&header, memory.bytes, sizeof header);
  const auto head = BlockReader::head_bytes(header, length, {});
  REQUIRE(head);
  CHECK(*head == length - 24);
  const auto block = BlockReader::parse({memory.bytes, *head}, length, {});
  REQUIRE(block);
  CHECK_FALSE(block->image_copied());
  CHECK(block->image_offset() == *head);
  CHECK_FALSE(BlockReader::parse({memory.bytes, *head - 1}, length, {}).ok());
}

TEST_CASE("an empty block is a header") {
  Memory memory;
  BlockWriter writer(memory.bytes, {});
  const uint64_t length = writer.finish();
  const auto block = BlockReader::parse({memory.bytes, length}, length, {});
  REQUIRE(block);
  CHECK(block->metadata().empty());
  CHECK(block->status_message().empty());
}

TEST_CASE("limits") {
  Memory memory;
  const uint64_t length = write_example(memory);
  const auto code = [&](const BlockLimits& limits) { return BlockReader::parse({memory.bytes, length}, length, limits).error().code; };
  CHECK(code({100, 8192}) == StatusCode::kResourceExhausted);
  CHECK(code({4096, 8}) == StatusCode::kResourceExhausted);
  CHECK(BlockReader::parse({memory.bytes, length}, length - 1, {}).error().code == StatusCode::kInvalidArgument);
}

// Whatever the bytes are, a block is refused or all that it hands out lies within it.
void read_all(std::span<const std::byte> bytes) {
  const auto block = BlockReader::parse(bytes, bytes.size(), {});
  if (!block) return;
  const auto inside = [&](std::span<const std::byte> part) {
    if (part.empty()) return true;
    return part.data() >= bytes.data() && part.data() + part.size() <= bytes.data() + bytes.size();
  };
  REQUIRE(inside(block->metadata()));
  REQUIRE(inside(block->details()));
  REQUIRE(inside(block->rich_status()));
  REQUIRE(inside(block->inline_image()));
  MetadataReader metadata(block->metadata());
  MetadataPair pair;
  while (metadata.next(pair)) REQUIRE(inside(std::as_bytes(std::span(pair.value))));
  for (uint32_t i = 0; i < block->segment_count(); ++i) REQUIRE(block->segment(i).length != 0);
}

TEST_CASE("hostile bytes: every word of a valid block overwritten with every bad value") {
  const uint32_t values[] = {0, 1, 7, 8, 63, 64, 65, 255, 4095, 4096, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff};
  Memory valid;
  const uint64_t length = write_example(valid);
  for (uint64_t at = 0; at + 4 <= length; at += 4) {
    for (const uint32_t value : values) {
      Memory memory = valid;
      std::memcpy(memory.bytes + at, &value, sizeof value);
      const std::vector<std::byte> copy(memory.bytes, memory.bytes + length);  // exact size, for the sanitizers
      read_all(copy);
    }
  }
}

TEST_CASE("hostile bytes: random ones, of every length") {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<std::byte> bytes(random() % 256);
    for (auto& byte : bytes) byte = static_cast<std::byte>(random() % 4 == 0 ? random() : 0);
    read_all(bytes);
  }
}

}  // namespace
}  // namespace mrpc::shm
