// Which services there are, by which schemas, and who offers them: one shard's copy.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/chain.h"
#include "message/layout.h"
#include "transport/transport.h"

namespace mrpc::dataplane {

class Port;

// One schema of a service. Servers of several versions may offer it at a time, while a roll-out goes on.
struct ServiceVariant {
  std::shared_ptr<const message::Schema> schema;
  const message::ServiceLayout* layout = nullptr;

  uint64_t fingerprint() const { return layout->fingerprint; }
  // -1 when the service has no such method.
  int method_index(std::string_view name) const;
};

// One offerer of one service: an attachment of this daemon, or a service behind a link.
struct Endpoint {
  uint64_t id = 0;              // attachment id; 0 behind a link
  Port* port = nullptr;         // local
  transport::LinkId link = 0;   // remote
  std::string app, node;
  uint32_t handle_base = 0;     // local: handle of method i is handle_base + i
  uint32_t open_calls = 0;
  std::shared_ptr<const ServiceVariant> variant;
  bool hidden = false;  // no call may choose it yet: policies in force have no program for its schema

  bool remote() const { return port == nullptr; }
  // Of calls that begin on this daemon.
  Place place() const { return remote() ? Place::kCaller : Place::kBothEnds; }
};

struct ServiceEntry {
  std::string name;
  std::vector<std::shared_ptr<Endpoint>> endpoints;
  size_t next = 0;  // round robin

  // The endpoint for the next call; null when none matches. `app`: only endpoints of that app, empty for all; `local_only`:
  // none behind links, for calls that came over one.
  std::shared_ptr<Endpoint> pick(Balancing balancing, std::string_view app, bool local_only, uint64_t random);
};

class Directory {
 public:
  // Never forgets a name, so that pointers to entries stay good.
  ServiceEntry& entry(const std::string& service);
  ServiceEntry* find(std::string_view service);
  const std::unordered_map<std::string, std::unique_ptr<ServiceEntry>>& entries() const { return entries_; }

  void remove_port(const Port* port);
  void remove_link(transport::LinkId link);

 private:
  std::unordered_map<std::string, std::unique_ptr<ServiceEntry>> entries_;
};

// "/package.Service/Method" in two; empty parts when malformed.
struct SplitPath { std::string_view service, method; };
SplitPath split_path(std::string_view path);

}  // namespace mrpc::dataplane
