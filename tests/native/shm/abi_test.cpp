// Pins the shared-memory ABI. A failure here means that applications built before do not fit a daemon built now: do not mend the
// test, raise kLevel and serve both.
#include "shm/abi.h"

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "shm/control.h"

namespace mrpc::abi {
namespace {

#define PIN(type, member, at) static_assert(offsetof(type, member) == (at))

static_assert(sizeof(ControlHeader) == 16);
PIN(ControlHeader, magic, 0);
PIN(ControlHeader, kind, 4);
PIN(ControlHeader, flags, 6);
PIN(ControlHeader, length, 8);
PIN(ControlHeader, request_id, 12);

static_assert(sizeof(Hello) == 32);
PIN(Hello, level_min, 0);
PIN(Hello, level_max, 2);
PIN(Hello, endian_probe, 4);
PIN(Hello, features, 8);
PIN(Hello, role, 16);
PIN(Hello, pid, 20);
PIN(Hello, label_bytes, 24);
PIN(Hello, token_bytes, 26);
PIN(Hello, reserved, 28);

static_assert(sizeof(Welcome) == 64);
PIN(Welcome, level, 0);
PIN(Welcome, shard_count, 2);
PIN(Welcome, attachment_id, 4);
PIN(Welcome, features, 8);
PIN(Welcome, message_bytes_max, 16);
PIN(Welcome, send_quota_bytes, 24);
PIN(Welcome, receive_quota_bytes, 32);
PIN(Welcome, ring_slots, 40);
PIN(Welcome, generation, 44);
PIN(Welcome, metadata_bytes_max, 48);
PIN(Welcome, region_count, 52);
PIN(Welcome, daemon_pid, 56);

static_assert(sizeof(RegionRecord) == 32);
PIN(RegionRecord, id, 0);
PIN(RegionRecord, generation, 4);
PIN(RegionRecord, bytes, 8);
PIN(RegionRecord, page_bytes, 16);
PIN(RegionRecord, numa_node, 20);
PIN(RegionRecord, kind, 24);
PIN(RegionRecord, reserved, 28);

static_assert(sizeof(RingReplace) == 8 && sizeof(ControlError) == 8 && sizeof(SchemaRegistered) == 8 && sizeof(ServiceRef) == 8);
static_assert(sizeof(Offered) == 8 && sizeof(Bound) == 8 && sizeof(MethodRecord) == 8);
PIN(RingReplace, ring_slots, 4);
PIN(Offered, method_count, 4);
PIN(Bound, method_count, 4);
PIN(MethodRecord, flags, 4);

static_assert(sizeof(Slot) == 64 && alignof(Slot) == 64);
PIN(Slot, kind, 0);
PIN(Slot, flags, 1);
PIN(Slot, code, 2);
PIN(Slot, handle, 4);
PIN(Slot, call_id, 8);
PIN(Slot, offset, 16);
PIN(Slot, length, 24);
PIN(Slot, aux, 32);
PIN(Slot, region, 40);
PIN(Slot, sequence, 44);
PIN(Slot, reserved1, 48);

PIN(AppControl, sleepers, 0);
PIN(AppControl, poll_armed, 4);
PIN(AppShard, submit_tail, 0);
PIN(AppShard, complete_head, 64);
PIN(DaemonControl, wake_sequence, 0);
PIN(DaemonControl, closed, 4);
PIN(DaemonShard, complete_tail, 0);
PIN(DaemonShard, submit_head, 64);
PIN(DaemonShard, asleep, 128);
static_assert(sizeof(AppControl) == 4096 && sizeof(AppShard) == 4096 && sizeof(DaemonControl) == 4096 && sizeof(DaemonShard) == 4096);
static_assert(ring_region_bytes(2, 1024) == 3 * 4096 + 2 * 65536);
static_assert(slots_offset(2, 1, 1024) == 3 * 4096 + 65536);

static_assert(sizeof(BlockHeader) == 32 && sizeof(Segment) == 24);
PIN(BlockHeader, image_bytes, 0);
PIN(BlockHeader, inline_bytes, 8);
PIN(BlockHeader, metadata_bytes, 16);
PIN(BlockHeader, details_bytes, 20);
PIN(BlockHeader, segment_count, 24);
PIN(BlockHeader, reserved, 28);
PIN(Segment, offset, 0);
PIN(Segment, length, 8);
PIN(Segment, region, 16);

static_assert(static_cast<int>(ControlKind::kHello) == 1 && static_cast<int>(ControlKind::kWelcome) == 2);
static_assert(static_cast<int>(ControlKind::kBind) == 10 && static_cast<int>(ControlKind::kGoodbye) == 18);
static_assert(static_cast<int>(SlotKind::kOpen) == 1 && static_cast<int>(SlotKind::kStatus) == 6);
static_assert(static_cast<int>(SlotKind::kReclaim) == 7 && static_cast<int>(SlotKind::kControl) == 9);
static_assert(kEnd == 1 && kHasMessage == 2 && kHold == 4 && kFragmentMore == 1);
static_assert(kLevel == 1 && kControlPacketMax == 32768 && kIntakeBytesMax == 16384 && kBlobAlign == 64);

TEST_CASE("a block's parts stand where level 1 says") {
  const BlockLayout at = block_layout(2, 24, 9, 100);
  CHECK(at.segments == 32);
  CHECK(at.metadata == 80);
  CHECK(at.details == 104);
  CHECK(at.image == 128);
  CHECK(at.end == 228);
}

TEST_CASE("the bytes of a hello") {
  Hello hello{};
  hello.level_min = 1;
  hello.level_max = 1;
  hello.endian_probe = kEndianProbe;
  hello.role = static_cast<uint32_t>(Role::kServer);
  hello.pid = 0x1234;
  hello.label_bytes = 3;
  const ControlHeader header{kMagic, static_cast<uint16_t>(ControlKind::kHello), 0, sizeof(Hello) + 3, 1};
  std::vector<std::byte> packet;
  shm::append_pod(packet, header);
  shm::append_pod(packet, hello);
  for (const char c : {'a', 'p', 'p'}) packet.push_back(static_cast<std::byte>(c));
  const uint8_t golden[] = {
      'm', 'R', 'P', 'C', 1, 0, 0, 0, 35, 0, 0, 0, 1, 0, 0, 0,                   // header
      1, 0, 1, 0, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0,                            // levels, endian probe, features
      2, 0, 0, 0, 0x34, 0x12, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 'a', 'p', 'p'};      // role, pid, lengths, label
  REQUIRE(packet.size() == sizeof golden);
  CHECK(std::memcmp(packet.data(), golden, sizeof golden) == 0);
}

}  // namespace
}  // namespace mrpc::abi
