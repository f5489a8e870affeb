// Everything of a data plane that has to survive its process, as one versioned value. A successor gets it, with the descriptors
// of regions and sockets, from its predecessor; both sides may be of different builds.
//
// Wire form: magic, version, then each list as u32 count and items; strings and byte strings as u32 length and content; integers
// little-endian. A reader of version N reads all versions up to N; fields are only ever added at the end of a record's list
// of fields, under a new version.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace mrpc::dataplane {

constexpr uint32_t kTakeoverVersion = 1;

struct TakeoverAttachment {
  uint32_t id = 0, role = 0, uid = 0, generation = 1;
  int32_t pid = 0;
  std::string app, principal, label;
  uint64_t send_heap_bytes = 0, receive_heap_bytes = 0;
};

struct TakeoverService {  // an offer of a server, or a binding of a client
  uint32_t attachment = 0, handle_base = 0, offered = 0;
  std::string service, app_filter;
  std::string schema;  // serialised FileDescriptorSet
};

struct TakeoverCall {
  uint32_t shard = 0, server_side = 0, attachment = 0, half_closed = 0;
  uint64_t app_call = 0;   // the id by which the application knows it
  uint64_t link = 0, link_call = 0;
  uint64_t deadline_ns = 0, started_ns = 0, chain_epoch = 0;
  uint32_t request_sequence = 0, reply_sequence = 0, send_credit = 0;
  std::string path, server_app;
};

struct TakeoverReceiveBlock {  // out with an application: must stay allocated
  uint32_t attachment = 0, shard = 0;
  uint64_t offset = 0;
};

struct TakeoverEngine {
  std::string client, path, chain, policy, use;
  uint64_t evaluations = 0, denied = 0;
  std::string saved;
};

struct TakeoverPolicy {
  std::string name, use;
  std::vector<std::pair<std::string, std::string>> config;  // values as text, with their type in front
};

struct TakeoverChain {
  std::string name, client, service, method;
  std::vector<TakeoverPolicy> policies;
};

struct TakeoverPeer {
  uint32_t shard = 0, accepted = 0;
  std::string address, node;
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
};

std::vector<std::byte> encode_takeover(const TakeoverState& state);
// Errors: kInvalidArgument for anything but what encode_takeover of this or an older version made.
Result<TakeoverState> decode_takeover(std::span<const std::byte> bytes);

}  // namespace mrpc::dataplane
