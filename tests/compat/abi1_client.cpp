// A client frozen at level 1 of the shared-memory ABI. It includes no header of the tree: every number below is what an application
// built at level 1 has compiled in, and must not be changed. A daemon that serves level 1 must serve this program.
//
//   abi1_client SOCKET SERVICE [SCHEMA_FILE IMAGE_FILE]
//
// Attaches, registers the schema, binds the service, calls its first method with the image, and succeeds when the reply's image has
// the same bytes.
#include <linux/futex.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

struct Header { uint32_t magic; uint16_t kind, flags; uint32_t length, request_id; };
struct Hello {
  uint16_t level_min, level_max;
  uint32_t endian_probe;
  uint64_t features;
  uint32_t role, pid;
  uint16_t label_bytes, token_bytes;
  uint32_t reserved;
};
struct Welcome {
  uint16_t level, shard_count;
  uint32_t attachment_id;
  uint64_t features, message_bytes_max, send_quota_bytes, receive_quota_bytes;
  uint32_t ring_slots, generation, metadata_bytes_max, region_count;
  uint64_t daemon_pid;
};
struct Region { uint32_t id, generation; uint64_t bytes; uint32_t page_bytes; int32_t numa_node; uint32_t kind, reserved; };
struct Slot {
  uint8_t kind, flags, code, reserved0;
  uint32_t handle;
  uint64_t call_id, offset, length, aux;
  uint32_t region, sequence;
  uint64_t reserved1, reserved2;
};
struct Block { uint64_t image_bytes, inline_bytes; uint32_t metadata_bytes, details_bytes, segment_count, reserved; };
static_assert(sizeof(Header) == 16 && sizeof(Hello) == 32 && sizeof(Welcome) == 64 && sizeof(Region) == 32 && sizeof(Slot) == 64 && sizeof(Block) == 32);

constexpr uint32_t kMagic = 0x4350526d;
enum : uint16_t { kHello = 1, kWelcome = 2, kError = 3, kRegisterSchema = 4, kSchemaRegistered = 5, kBind = 10, kBound = 11, kGoodbye = 18 };
enum : uint8_t { kOpen = 1, kStatus = 6, kReclaim = 7 };
enum : uint8_t { kEnd = 1, kHasMessage = 2, kHold = 4 };
constexpr size_t kPage = 4096, kPacketMax = 32 * 1024;

using Bytes = std::vector<uint8_t>;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "abi1_client: %s\n", what.c_str());
  std::exit(1);
}

template <typename T>
void append(Bytes& out, const T& value) {
  const auto* at = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), at, at + sizeof value);
}

struct Answer {
  Bytes body;
  std::vector<int> fds;
};

void send_packet(int socket, uint16_t kind, uint32_t id, const Bytes& body) {
  size_t at = 0;
  do {
    const size_t now = std::min(body.size() - at, kPacketMax - sizeof(Header));
    const bool more = at + now < body.size();
    Bytes packet;
    append(packet, Header{kMagic, kind, static_cast<uint16_t>(more ? 1 : 0), static_cast<uint32_t>(now), id});
    packet.insert(packet.end(), body.begin() + static_cast<ptrdiff_t>(at), body.begin() + static_cast<ptrdiff_t>(at + now));
    if (::send(socket, packet.data(), packet.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(packet.size())) fail("send");
    at += now;
  } while (at < body.size());
}

Answer receive(int socket, uint16_t kind, uint32_t id) {
  Answer answer;
  for (;;) {
    Bytes packet(kPacketMax);
    iovec part{packet.data(), packet.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(64 * sizeof(int))];
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got < static_cast<ssize_t>(sizeof(Header))) fail("the daemon closed the socket");
    Header header;
    std::memcpy(&header, packet.data(), sizeof header);
    if (header.kind == kError) fail("refused: " + std::string(packet.begin() + 24, packet.begin() + got));
    if (header.magic != kMagic || header.length != got - sizeof header) fail("malformed packet");
    if (header.kind != kind || header.request_id != id) continue;  // a notice
    answer.body.insert(answer.body.end(), packet.begin() + sizeof header, packet.begin() + got);
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c))
      for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
        answer.fds.push_back(fd);
      }
    if ((header.flags & 1) == 0) return answer;
  }
}

Answer request(int socket, uint16_t kind, uint16_t answer, uint32_t id, const Bytes& body) {
  send_packet(socket, kind, id, body);
  return receive(socket, answer, id);
}

uint8_t* map(int fd, size_t bytes, bool writable) {
  void* at = ::mmap(nullptr, bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
  if (at == MAP_FAILED) fail("mmap");
  return static_cast<uint8_t*>(at);
}

std::atomic<uint32_t>& word(uint8_t* at) { return *reinterpret_cast<std::atomic<uint32_t>*>(at); }

Bytes read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(std::string("cannot read ") + path);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

int attach(const char* path) {
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("connect");
  return socket;
}

// One shard's rings, and the heaps.
struct Shared {
  uint8_t *app, *daemon, *send_heap, *receive_heap;
  uint32_t shards, shard, slots;
  int doorbell;
  uint32_t submitted = 0, completed = 0;

  uint8_t* app_shard() const { return app + kPage * (1 + shard); }
  uint8_t* daemon_shard() const { return daemon + kPage * (1 + shard); }
  size_t slot_at(uint32_t index) const { return kPage * (1 + shards) + (size_t{shard} * slots + (index & (slots - 1))) * sizeof(Slot); }

  void submit(const Slot& slot) {
    std::memcpy(app + slot_at(submitted++), &slot, sizeof slot);
    word(app_shard()).store(submitted, std::memory_order_release);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const uint64_t one = 1;
    if (word(daemon_shard() + 128) != 0 && ::write(doorbell, &one, sizeof one) < 0) fail("doorbell");
  }

  Slot next() {
    for (;;) {
      std::atomic<uint32_t>& wake = word(daemon);
      word(app).fetch_add(1);
      const uint32_t seen = wake;
      if (word(daemon + 4) != 0) fail("the daemon ended the attachment");
      const bool there = word(daemon_shard()).load(std::memory_order_acquire) != completed;
      timespec limit{10, 0};
      if (!there && ::syscall(SYS_futex, &wake, FUTEX_WAIT, seen, &limit, nullptr, 0) != 0 && errno == ETIMEDOUT) fail("no completion in 10 s");
      word(app).fetch_sub(1);
      if (!there) continue;
      Slot slot;
      std::memcpy(&slot, daemon + slot_at(completed++), sizeof slot);
      word(app_shard() + 64).store(completed, std::memory_order_release);
      return slot;
    }
  }
};

void check_reply(Shared& shared, const Slot& status, const Bytes& image) {
  if (status.code != 0) fail("the call ended with code " + std::to_string(status.code));
  if ((status.flags & kHasMessage) == 0 || status.region != 2) fail("no reply message");
  Block block;
  std::memcpy(&block, shared.receive_heap + status.offset, sizeof block);
  if (block.segment_count != 0 || block.image_bytes != block.inline_bytes || block.inline_bytes != image.size()) fail("another image");
  const size_t at = status.length - block.inline_bytes;
  if (at % 64 != 0 || std::memcmp(shared.receive_heap + status.offset + at, image.data(), image.size()) != 0) fail("another image");
  Slot reclaim{};
  reclaim.kind = kReclaim;
  reclaim.offset = status.offset;
  reclaim.region = 2;
  reclaim.aux = 1;
  shared.submit(reclaim);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 5) fail("usage: abi1_client SOCKET SERVICE [SCHEMA_FILE IMAGE_FILE]");
  const Bytes schema = argc == 5 ? read_file(argv[3]) : Bytes(16);
  const Bytes image = argc == 5 ? read_file(argv[4]) : Bytes(16);
  const int socket = attach(argv[1]);

  Bytes hello;
  append(hello, Hello{1, 1, 0x01020304, 0, 1, static_cast<uint32_t>(::getpid()), 4, 0, 0});
  for (const char c : {'a', 'b', 'i', '1'}) hello.push_back(static_cast<uint8_t>(c));
  const Answer welcomed = request(socket, kHello, kWelcome, 1, hello);
  Welcome welcome;
  Region regions[2];
  if (welcomed.body.size() != sizeof welcome + sizeof regions) fail("welcome of another size");
  std::memcpy(&welcome, welcomed.body.data(), sizeof welcome);
  std::memcpy(regions, welcomed.body.data() + sizeof welcome, sizeof regions);
  if (welcome.level != 1 || welcomed.fds.size() != 5u + welcome.shard_count) fail("another welcome");

  const Answer registered = request(socket, kRegisterSchema, kSchemaRegistered, 2, schema);
  uint32_t schema_id;
  std::memcpy(&schema_id, registered.body.data(), sizeof schema_id);
  Bytes bind;
  append(bind, schema_id);
  append(bind, uint32_t{0});
  bind.insert(bind.end(), argv[2], argv[2] + std::strlen(argv[2]) + 1);
  const Answer bound = request(socket, kBind, kBound, 3, bind);
  uint32_t shard, handle;
  std::memcpy(&shard, bound.body.data(), sizeof shard);
  std::memcpy(&handle, bound.body.data() + 8, sizeof handle);

  const size_t ring_bytes = kPage * (1 + welcome.shard_count) + size_t{welcome.shard_count} * welcome.ring_slots * sizeof(Slot);
  Shared shared{map(welcomed.fds[0], ring_bytes, true), map(welcomed.fds[1], ring_bytes, false),
                map(welcomed.fds[3], regions[0].bytes, true), map(welcomed.fds[4], regions[1].bytes, false),
                welcome.shard_count, shard, welcome.ring_slots, welcomed.fds[5 + shard]};

  constexpr uint64_t kOffset = 4096, kImageAt = 64;
  const Block block{image.size(), image.size(), 0, 0, 0, 0};
  std::memcpy(shared.send_heap + kOffset, &block, sizeof block);
  std::memcpy(shared.send_heap + kOffset + kImageAt, image.data(), image.size());
  Slot open{};
  open.kind = kOpen;
  open.flags = kEnd | kHasMessage;
  open.handle = handle;
  open.call_id = 77;
  open.offset = kOffset;
  open.length = kImageAt + image.size();
  open.region = 1;
  shared.submit(open);
  Slot status;
  do status = shared.next();
  while (status.kind != kStatus);
  if (status.call_id != 77) fail("another call's status");
  check_reply(shared, status, image);
  send_packet(socket, kGoodbye, 0, {});
  std::printf("level 1: echo of %zu bytes\n", image.size());
  return 0;
}
