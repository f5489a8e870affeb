// The shared-memory contract between an application and its host's daemon. This header is the whole of
// it: what the two sides say over app.sock, and how the memory that they share is laid out. Both sides
// include it; tests/native/abi_test.cpp pins every offset; tests/compat holds a client frozen at level 1.
//
// THE PROTOCOL
//
// 1. app.sock is SOCK_SEQPACKET. The application sends Hello; the daemon answers Welcome with descriptors
//    of memory that *it* created, in the order of enum WelcomeFd, or ControlError and closes. Applications
//    never send descriptors: any received are closed and the attachment is refused.
// 2. Each control packet is a ControlHeader and `length` bytes. A request carries a request_id that the
//    answer repeats; packets with request_id 0 are notices of the daemon. Bodies over kControlBodyMax are
//    sent as fragments (kFragmentMore on all but the last), so a schema of any size passes.
// 3. A process has one attachment as client (role kClient) and one for each server that it runs
//    (role kServer), so that server threads and waiting callers never share a completion ring.
// 4. An attachment has, for each of the daemon's shards, two rings of 64-byte slots:
//      submission  application -> daemon   slots in AppRings (application writes, daemon maps read-only)
//      completion  daemon -> application   slots in DaemonRings (daemon writes, application maps read-only)
//    Indexes count up for ever (u32, wrapping); slot = index & (ring_slots - 1). Each side's indexes stand in
//    memory that only that side can write. A consumer copies a slot before it looks at it.
// 5. Doorbells are rung only for a side that has said that it sleeps.
//      app -> daemon: after publishing `submit_tail`, full fence, if DaemonShard.asleep: write the shard's eventfd.
//      daemon -> app: after publishing `complete_tail`, full fence: if AppControl.sleepers > 0: wake_sequence += 1 and
//        FUTEX_WAKE(wake_sequence, 1); if AppControl.poll_armed: write 8 bytes to the wake pipe (asyncio and poll() users).
//    A sleeper raises `sleepers`, reads wake_sequence, looks at its rings once more, then FUTEX_WAITs on the value read.
// 6. A message travels as a Block (below) in the sender's heap. A client names its call by any u64 unique among its
//    live calls on that shard; the daemon names calls towards a server. Slots of one call go by one shard.
// 7. The daemon takes a send block at intake when it is small and has no segments: such a block is free once
//    submit_head has passed its slot. A slot with kHold set asks for an explicit answer instead: the daemon sends
//    kReclaim with the block's offset when it has read the last byte, also when the call fails. Every block
//    over kIntakeBytesMax or with segments must be sent with kHold.
// 8. Receive blocks belong to the application from the completion that names them until it submits kReclaim, on the
//    ring of the shard that delivered them.
// 9. Anything that breaks these rules ends the one attachment with ControlError, and nothing else.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace mrpc::abi {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "mRPC's shared memory is little-endian");

constexpr uint32_t kMagic = 0x4350526d;  // "mRPC"
constexpr uint16_t kLevel = 1;           // spoken by this build
constexpr uint16_t kLevelOldest = 1;     // oldest level that the daemon serves
constexpr uint32_t kEndianProbe = 0x01020304;

constexpr size_t kControlPacketMax = 32 * 1024;
constexpr uint32_t kIntakeBytesMax = 16 * 1024;   // a block up to this size is copied whole at intake
constexpr uint32_t kMetadataBytesMax = 8 * 1024;  // default limit, gRPC's
constexpr uint32_t kDetailsBytesMax = 64 * 1024;
constexpr uint64_t kMessageBytesMax = 64ull << 20;     // default limit of one message
constexpr uint64_t kMessageBytesLimit = 1ull << 30;    // no configuration can exceed this
constexpr uint64_t kQuotaBytes = 512ull << 20;  // default quota, each direction, of one attachment
constexpr uint32_t kSegmentsMax = 64;
constexpr uint64_t kBlobAlign = 64;
constexpr uint32_t kRingSlots = 1024;
constexpr uint32_t kStreamWindow = 16;        // messages (kMessage) that each direction of a call may send before the first kCredit; kOpen's is free
constexpr uint32_t kRingSlotsReserved = 64;  // of the completion ring, for cancel, reclaim and status

// ---- control packets on app.sock ---------------------------------------------------------------------

enum class ControlKind : uint16_t {
  kHello = 1,            // app: Hello + label + token
  kWelcome = 2,          // daemon: Welcome + RegionRecord[region_count]; carries descriptors
  kError = 3,            // daemon: ControlError + text; request_id 0 means that the attachment ends
  kRegisterSchema = 4,   // app: serialised google.protobuf.FileDescriptorSet (dependencies first)
  kSchemaRegistered = 5, // daemon: SchemaRegistered
  kOffer = 6,            // server: ServiceRef + full service name
  kOffered = 7,          // daemon: Offered + MethodRecord[method_count], in the schema's order
  kWithdraw = 8,         // server: ServiceRef + full service name
  kWithdrawn = 9,        // daemon: empty
  kBind = 10,            // client: ServiceRef + full service name, NUL, target ("" or name after mrpc:///)
  kBound = 11,           // daemon: Bound + MethodRecord[method_count], in the schema's order
  kRegionAdd = 12,       // daemon notice: RegionRecord; carries its descriptor
  kRegionRetire = 13,    // daemon notice: RegionRecord; the app unmaps when nothing refers to it, then answers
  kRegionRetired = 14,   // app: RegionRecord
  kRingReplace = 15,     // daemon notice: RingReplace; carries descriptors as kWelcome's first three + doorbells
  kRingReplaced = 16,    // app: RingReplace; after this the app uses only the new generation
  kDrain = 17,           // daemon notice: going away; finish what is open, start nothing
  kGoodbye = 18,         // app: detaching in good order
};

constexpr uint16_t kFragmentMore = 1;  // ControlHeader.flags

struct ControlHeader {
  uint32_t magic;
  uint16_t kind;
  uint16_t flags;
  uint32_t length;
  uint32_t request_id;
};
static_assert(sizeof(ControlHeader) == 16);
constexpr size_t kControlBodyMax = kControlPacketMax - sizeof(ControlHeader);
constexpr size_t kControlMessageMax = 8u << 20;  // all fragments together

enum class Role : uint32_t { kClient = 1, kServer = 2 };

struct Hello {
  uint16_t level_min, level_max;
  uint32_t endian_probe;
  uint64_t features;  // bits that the application understands
  uint32_t role;
  uint32_t pid;       // of the process, as it sees itself; for humans only
  uint16_t label_bytes, token_bytes;
  uint32_t reserved;  // zero
};
static_assert(sizeof(Hello) == 32);
constexpr size_t kLabelBytesMax = 128, kTokenBytesMax = 256;

struct Welcome {
  uint16_t level;
  uint16_t shard_count;
  uint32_t attachment_id;
  uint64_t features;  // bits that both understand
  uint64_t message_bytes_max;
  uint64_t send_quota_bytes, receive_quota_bytes;
  uint32_t ring_slots;
  uint32_t generation;
  uint32_t metadata_bytes_max;
  uint32_t region_count;
  uint64_t daemon_pid;
};
static_assert(sizeof(Welcome) == 64);

// Order of the descriptors of kWelcome: five, then one doorbell eventfd for each shard. kWakeFd is a pipe, open for reading and
// writing, and not the daemon's own description of it: what the application does to its flags does not reach the daemon.
enum WelcomeFd : int { kAppRingsFd = 0, kDaemonRingsFd = 1, kWakeFd = 2, kSendHeapFd = 3, kReceiveHeapFd = 4, kDoorbellFds = 5 };

enum class RegionKind : uint32_t { kSendHeap = 1, kReceiveHeap = 2 };
struct RegionRecord {
  uint32_t id;
  uint32_t generation;
  uint64_t bytes;
  uint32_t page_bytes;
  int32_t numa_node;  // -1: unknown
  uint32_t kind;
  uint32_t reserved;
};
static_assert(sizeof(RegionRecord) == 32);
constexpr uint32_t kSendRegion = 1, kReceiveRegion = 2;  // ids of the first two

struct RingReplace { uint32_t generation; uint32_t ring_slots; };
struct ControlError { uint32_t status_code; uint32_t reserved; };
struct SchemaRegistered { uint32_t schema_id; uint32_t reserved; };
struct ServiceRef { uint32_t schema_id; uint32_t reserved; };
struct Offered { uint32_t service_id; uint32_t method_count; };
struct Bound { uint32_t shard; uint32_t method_count; };
// `handle` goes into Slot.handle: for a client it names the edge's method, for a server the method called.
struct MethodRecord { uint32_t handle; uint32_t flags; };
static_assert(sizeof(MethodRecord) == 8 && sizeof(Bound) == 8);

// ---- rings -------------------------------------------------------------------------------------------

enum class SlotKind : uint8_t {
  kOpen = 1,      // client->daemon->server: call begins; block = metadata + first message
  kMessage = 2,   // either: one more message of a stream
  kHalfClose = 3, // client->server: no more requests
  kCancel = 4,    // client->daemon, daemon->server
  kCredit = 5,    // either: aux = messages more that the sender of this slot can take
  kStatus = 6,    // server->daemon->client: call ends; code; block = trailing metadata, details, reply if kHasMessage
  kReclaim = 7,   // either: aux (1 or 2) blocks of `region` are free: the one at offset, and for 2 the one at length too
  kInitialMetadata = 8,  // server->client: block = metadata, no message
  kControl = 9,   // daemon->app: read the control socket
};

enum SlotFlag : uint8_t {
  kEnd = 1,         // kOpen, kMessage: the last message of this direction
  kHasMessage = 2,  // the block holds a message image (it may be of zero fields)
  kHold = 4,        // the sender awaits kReclaim for the block
  kNotDelivered = 8,  // kStatus to a client: no server was there to have the call, so it may be made again
};

// Bits of Hello and Welcome.
enum Feature : uint64_t {
  kTellsNotDelivered = 1,  // a kStatus without kNotDelivered was not ended for that reason; daemons before v0.3 said it in the text alone
};
constexpr uint64_t kFeatures = kTellsNotDelivered;  // of this build

struct alignas(64) Slot {
  uint8_t kind;
  uint8_t flags;
  uint8_t code;        // StatusCode, for kStatus
  uint8_t reserved0;
  uint32_t handle;     // method
  uint64_t call_id;
  uint64_t offset;     // block in heap `region`; 0 with length 0: no block
  uint64_t length;     // bytes of the block as it stands in the heap (header to end of inline image)
  uint64_t aux;        // kOpen: deadline, CLOCK_MONOTONIC ns, 0 none; kCredit, kReclaim: see there
  uint32_t region;
  uint32_t sequence;   // message number within this direction of the call, from 0
  uint64_t reserved1, reserved2;
};
static_assert(sizeof(Slot) == 64 && alignof(Slot) == 64);
static_assert(offsetof(Slot, call_id) == 8 && offsetof(Slot, aux) == 32 && offsetof(Slot, region) == 40);

using Index = std::atomic<uint32_t>;
static_assert(Index::is_always_lock_free && sizeof(Index) == 4);
constexpr size_t kPage = 4096;

// First page of AppRings: written by the application, read by the daemon (and never trusted).
struct AppControl {
  Index sleepers;    // threads asleep, or about to be, on wake_sequence
  Index poll_armed;  // 1: write to the wake pipe at the next completion
  uint8_t pad[kPage - 8];
};
// One page a shard, after AppControl.
struct AppShard {
  Index submit_tail;
  uint8_t pad0[60];
  Index complete_head;
  uint8_t pad1[kPage - 68];
};
// First page of DaemonRings: written by the daemon, mapped read-only by the application.
struct DaemonControl {
  Index wake_sequence;
  Index closed;  // 1: the attachment has ended; the reason is on the control socket
  uint8_t pad[kPage - 8];
};
struct DaemonShard {
  Index complete_tail;
  uint8_t pad0[60];
  Index submit_head;
  uint8_t pad1[60];
  Index asleep;
  uint8_t pad2[kPage - 132];
};
static_assert(sizeof(AppControl) == kPage && sizeof(AppShard) == kPage);
static_assert(sizeof(DaemonControl) == kPage && sizeof(DaemonShard) == kPage);

// AppRings    = AppControl, AppShard[shards], Slot[shards][ring_slots] (submission)
// DaemonRings = DaemonControl, DaemonShard[shards], Slot[shards][ring_slots] (completion)
constexpr size_t ring_region_bytes(uint32_t shards, uint32_t ring_slots) {
  return kPage * (1 + shards) + size_t{shards} * ring_slots * sizeof(Slot);
}
constexpr size_t slots_offset(uint32_t shards, uint32_t shard, uint32_t ring_slots) {
  return kPage * (1 + shards) + size_t{shard} * ring_slots * sizeof(Slot);
}

// ---- message blocks ----------------------------------------------------------------------------------

// A block: BlockHeader, Segment[segment_count], metadata, details, then the inline image. Each part starts on
// a multiple of 8, the image on a multiple of 64 of the block; blocks start on a multiple of 64 of the region.
// The *image* that readers see is the inline part followed by the segments, each of which starts on the next
// multiple of kBlobAlign: Refs into a segment count from the start of the whole. A block written by
// the daemon has no segments: its image is whole and contiguous, image_bytes == inline_bytes.
struct BlockHeader {
  uint64_t image_bytes;     // of the whole image, segments included
  uint64_t inline_bytes;    // of its inline part, in this block
  uint32_t metadata_bytes;  // metadata: {u32 key_bytes, u32 value_bytes, key, value, pad to 8}*
  uint32_t details_bytes;   // kStatus: u32 message_bytes, message, google.rpc.Status bytes
  uint32_t segment_count;
  uint32_t reserved;
};
static_assert(sizeof(BlockHeader) == 32);

// Bytes that go from heap to heap as they are. `region` is the sender's send heap, or its receive heap (a
// received view sent on; the daemon checks that the block which holds it has not been reclaimed).
struct Segment {
  uint64_t offset;
  uint64_t length;
  uint32_t region;
  uint32_t reserved;
};
static_assert(sizeof(Segment) == 24);

constexpr uint64_t align_up(uint64_t value, uint64_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }
struct BlockLayout { uint64_t segments, metadata, details, image, end; };
// Offsets of a block's parts. Arguments must have been bounded by the caller: nothing here can overflow then.
constexpr BlockLayout block_layout(uint32_t segment_count, uint32_t metadata_bytes, uint32_t details_bytes, uint64_t inline_bytes) {
  BlockLayout at{};
  at.segments = sizeof(BlockHeader);
  at.metadata = at.segments + uint64_t{segment_count} * sizeof(Segment);
  at.details = align_up(at.metadata + metadata_bytes, 8);
  at.image = align_up(at.details + details_bytes, 64);
  at.end = at.image + inline_bytes;
  return at;
}

}  // namespace mrpc::abi
