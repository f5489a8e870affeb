// Everything of a data plane that has to survive its process, as one versioned value. A successor gets it, with the descriptors
// of regions and sockets, from its predecessor; both sides may be of different builds.
//
// Wire form: magic, version, then each list as u32 count and items; strings and byte strings as u32 length and content; integers
// little-endian. A reader of version N reads all versions up to N; fields are only ever added at the end of a record's list
// of fields, under a new version, and a writer writes the version that its reader asked for. Between two builds that is the newer
// version that both know, and neither takes part in one below kTakeoverOldest.
//
//   version 1   v0.1.0: written and tested, never handed over
//   version 2   v0.2.0: the first that a successor can go on with: descriptors, allocators, queues, frames under way, TCP sessions
//   version 3   calls that a peer's daemon has judged by some of the chains; what was agreed upon when a connection began
//
// Descriptors travel beside the bytes, in one list; the state names them by their place in it. Messages' small parts stand in
// the state; blobs in private memory stand in a region of their own, the *payload*, which a successor maps and does not copy.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace mrpc::dataplane {

constexpr uint32_t kTakeoverVersion = 3;
constexpr uint32_t kTakeoverOldest = 2;  // that a successor can be started from
constexpr uint32_t kNoFd = UINT32_MAX;

using SlotBytes = std::array<uint64_t, 8>;  // an abi::Slot

struct TakeoverSchemaRef { uint32_t id = 0, schema = 0; };

struct TakeoverAttachment {
  uint32_t id = 0, role = 0, uid = 0, generation = 1;  // role 0: connected, no hello yet
  int32_t pid = 0;
  std::string app, principal, label;
  uint64_t send_heap_bytes = 0, receive_heap_bytes = 0;
  // 2: descriptors: socket; process; then, with a role, rings of both directions, wake pipe, both heaps, a doorbell a shard
  uint32_t first_fd = 0, has_pidfd = 0;
  uint64_t accepted_ns = 0, schema_bytes = 0;
  uint32_t handle_count = 0;
  std::vector<TakeoverSchemaRef> schemas;
  uint32_t partial_kind = 0, partial_request = 0, partial_open = 0;  // a control message whose fragments are still coming
  std::string partial_body;
};

struct TakeoverService {  // an offer of a server, or a binding of a client
  uint32_t attachment = 0, handle_base = 0, offered = 0;
  std::string service, app_filter;
  std::string schema;  // 1: serialised FileDescriptorSet
  uint32_t shard = 0, schema_index = 0, withdrawn = 0;  // 2
};

struct TakeoverCall {
  uint32_t shard = 0, server_side = 0, attachment = 0, half_closed = 0;
  uint64_t app_call = 0;   // the id by which the application knows it
  uint64_t link = 0, link_call = 0;
  uint64_t deadline_ns = 0, started_ns = 0, chain_epoch = 0;
  uint32_t request_sequence = 0, reply_sequence = 0, send_credit = 0;
  std::string path, server_app;
  // 2
  uint32_t handle = 0, schema_index = 0;
  uint64_t endpoint = 0;        // attachment id; 0: behind endpoint_link
  uint64_t endpoint_link = 0;
  uint32_t local_link = 0;      // server half: it came over the daemon's own link, whatever that is called in the successor
  std::string counted_client;   // server half: of the route that counts and judged it; "" for local calls
  // Policies that let it pass and will be told of its end: how many stages of its chain, its rows by their keys, its own cells.
  uint32_t passed = 0;
  std::string tenant, metadata;
  std::vector<std::string> rows;
  std::vector<uint64_t> cells;
  // 3
  std::string judged;  // CallState::judged
};

struct TakeoverReceiveBlock {  // out with an application: must stay allocated
  uint32_t attachment = 0, shard = 0;
  uint64_t offset = 0;
};

struct TakeoverEngine {
  std::string client, path, chain, policy, use;
  uint64_t evaluations = 0, denied = 0;
  std::string saved;
  uint32_t shard = 0, schema_index = 0;  // 2
};

struct TakeoverPolicyState {  // rows of a program, for all routes and shards
  std::string chain, policy, saved;
};

struct TakeoverPolicy {
  std::string name, use;
  std::vector<std::pair<std::string, std::string>> config;  // values as text, with their type in front
  bool operator==(const TakeoverPolicy&) const = default;
};

struct TakeoverChain {
  std::string name, client, service, method;
  std::vector<TakeoverPolicy> policies;
  bool operator==(const TakeoverChain&) const = default;
};

struct TakeoverPeer {
  uint32_t shard = 0, accepted = 0;
  std::string address, node;
  // 2
  uint64_t link = 0;
  uint32_t up = 0, as_protobuf = 0;  // as_protobuf: its images are laid out in another way
  std::string error;
  std::vector<std::string> services;
  uint64_t names_brought = 0;
};

// ---- from version 2 on ----

struct TakeoverBlob {
  uint32_t attachment = 0, region = 0;  // attachment 0: in the payload
  uint64_t offset = 0, length = 0;
};

// A message, or a transport frame's content.
struct TakeoverBody {
  std::string head;
  std::vector<TakeoverBlob> blobs;
  uint32_t hold_attachment = 0;  // whose send block is given back when this is done; 0: nobody's
  uint64_t hold_offset = 0;
};

struct TakeoverFrame {
  uint32_t kind = 0, flags = 0, code = 0, sequence = 0;
  uint64_t call_id = 0, aux = 0;
  TakeoverBody body;
};

struct TakeoverDelivery {  // waits for room with its receiver
  SlotBytes slot{};
  uint32_t has_message = 0, allocated = 0, blob = 0;
  TakeoverBody body;
  uint64_t body_block_at = 0;
  std::string caller;
  uint64_t block_at = 0, block_bytes = 0, inline_copied = 0, blob_offset = 0, image_cursor = 0;
  std::string charged_client, charged_path;
  uint64_t charged_bytes = 0;
  uint64_t pinned_server = 0, pinned_bytes = 0;  // of a reply that waits
  uint32_t ranked = 0, level = 0, group_kind = 0;  // of a call whose chain orders it
  uint64_t weight_bits = 0, rank_deadline_ns = 0;  // weight: the bits of a double
  std::string group;
};

struct TakeoverSpan {
  uint32_t first_page = 0, pages = 0, object_bytes = 0;
  std::vector<uint64_t> free_bits;
};
struct TakeoverRun { uint32_t first_page = 0, pages = 0; };

struct TakeoverPort {  // an attachment on one shard
  uint32_t shard = 0, attachment = 0, submit_head = 0, complete_tail = 0;
  std::vector<TakeoverSpan> spans;  // of its receive heap
  std::vector<TakeoverRun> warm;
  std::vector<TakeoverDelivery> deliveries;
  std::vector<SlotBytes> urgent;
  std::vector<uint32_t> shown;  // see Port
};

struct TakeoverOutbox {
  uint32_t shard = 0;
  uint64_t link = 0;
  std::vector<TakeoverFrame> frames;
};

struct TakeoverEdge {
  std::string server;
  uint64_t calls = 0, in_flight = 0, denied = 0, request_bytes = 0, reply_bytes = 0, latency_sum_ns = 0;
  std::vector<uint64_t> codes, latency_counts;
};
struct TakeoverRoute {
  uint32_t shard = 0;
  std::string client, service, method;
  std::vector<uint32_t> chain_schemas;  // for which servers' schemas a chain stands
  std::vector<TakeoverEdge> edges;
};

struct TakeoverRemote {  // a service behind a link
  uint32_t shard = 0, schema_index = 0;
  uint64_t link = 0;
  std::string service, app, node;
};

struct TakeoverTable {  // of calls
  uint32_t shard = 0, server_side = 0;
  std::vector<uint32_t> generations;
};

struct TakeoverOutMessage {
  TakeoverFrame frame;
  uint32_t id = 0;
  uint64_t cut_bytes = 0;
};
struct TakeoverSegment {
  uint32_t message = 0;
  uint64_t offset = 0;
  uint32_t bytes = 0;
};
struct TakeoverAssembly {
  TakeoverFrame frame;
  uint32_t id = 0, single = 0;
  uint64_t head_bytes = 0, filled_bytes = 0, total_bytes = 0;
};
struct TakeoverLink {
  uint64_t id = 0;
  uint32_t dialed = 0, up = 0, failure_told = 0, has_session = 0;
  std::string address;
  uint64_t connections_made = 0, give_up_at_ns = 0, session_high = 0, session_low = 0;
  // the sending half
  uint64_t peer_window_bytes = 0, peer_message_bytes_max = 0, send_started_bytes = 0, send_consumed_bytes = 0;
  uint64_t first = 0, next = 0, highest = 0, peer_ack = 0;
  uint32_t next_message_id = 0;
  std::vector<TakeoverOutMessage> messages;
  std::vector<TakeoverSegment> segments;
  std::vector<uint32_t> waiting;
  // the receiving half
  uint64_t receive_next = 0, receive_started_bytes = 0, receive_consumed_bytes = 0;
  std::vector<TakeoverAssembly> assemblies;
  uint32_t in_segment = 0;
  std::string segment;  // its WireHeader
  uint64_t segment_left = 0, segment_start = 0;
  // the connection
  uint32_t fd = kNoFd;
  std::string unread, unwritten;
  uint64_t features = 0;  // 3
};
struct TakeoverTcp {
  uint32_t shard = 0;
  uint64_t next_id = 0;
  std::vector<uint32_t> listener_fds;
  std::vector<TakeoverLink> links;
};

struct TakeoverJoined {  // a peer that an operator or the registry named: its link on each shard
  uint64_t id = 0;
  std::vector<uint64_t> links;
};

struct TakeoverState {
  std::string node;
  uint32_t shards = 0, next_attachment = 0, next_handle = 0;
  uint64_t epoch = 0;
  std::vector<TakeoverAttachment> attachments;
  std::vector<TakeoverService> services;
  std::vector<TakeoverCall> calls;
  std::vector<TakeoverReceiveBlock> receive_blocks;
  std::vector<TakeoverEngine> engines;
  std::vector<TakeoverChain> chains;
  std::vector<TakeoverPeer> peers;
  // 2
  uint32_t ring_slots = 0, next_schema = 0, fd_count = 0, listener_fd = kNoFd, payload_fd = kNoFd;
  uint32_t layout_version = 0;  // of the images under way
  uint64_t started_ns = 0, payload_bytes = 0;
  std::vector<std::string> schemas;  // serialised FileDescriptorSets, each once
  std::vector<TakeoverPort> ports;
  std::vector<TakeoverOutbox> outboxes;
  std::vector<TakeoverRoute> routes;
  std::vector<TakeoverRemote> remotes;
  std::vector<TakeoverTable> tables;
  std::vector<TakeoverTcp> tcp;
  std::vector<TakeoverJoined> joined;
  std::vector<TakeoverPolicyState> policy_states;
};

// `version`: at most kTakeoverVersion; what it has no fields for is left out.
std::vector<std::byte> encode_takeover(const TakeoverState& state, uint32_t version = kTakeoverVersion);
// Errors: kInvalidArgument for anything but what encode_takeover of this or an older version made.
Result<TakeoverState> decode_takeover(std::span<const std::byte> bytes);

}  // namespace mrpc::dataplane
