#include "dataplane/directory.h"

#include <algorithm>

namespace mrpc::dataplane {

int ServiceVariant::method_index(std::string_view name) const {
  for (size_t i = 0; i < layout->methods.size(); ++i)
    if (layout->methods[i].name == name) return static_cast<int>(i);
  return -1;
}

std::shared_ptr<Endpoint> ServiceEntry::pick(Balancing balancing, std::string_view app, bool local_only, uint64_t random) {
  const auto eligible = [&](const Endpoint& endpoint) {
    return !endpoint.hidden && (app.empty() || endpoint.app == app) && !(local_only && endpoint.remote());
  };
  std::shared_ptr<Endpoint> best;
  const size_t count = endpoints.size();
  // Least request starts its search at a random place, so that ties do not all fall on the first.
  const size_t start = count == 0 ? 0 : (balancing == Balancing::kRoundRobin ? next : random) % count;
  for (size_t i = 0; i < count; ++i) {
    const size_t at = (start + i) % count;
    const auto& candidate = endpoints[at];
    if (!eligible(*candidate)) continue;
    if (balancing == Balancing::kRoundRobin) {
      next = at + 1;
      return candidate;
    }
    if (!best || candidate->open_calls < best->open_calls) best = candidate;
  }
  return best;
}

ServiceEntry& Directory::entry(const std::string& service) {
  auto& slot = entries_[service];
  if (!slot) {
    slot = std::make_unique<ServiceEntry>();
    slot->name = service;
  }
  return *slot;
}

ServiceEntry* Directory::find(std::string_view service) {
  const auto at = entries_.find(std::string(service));
  return at == entries_.end() ? nullptr : at->second.get();
}

void Directory::remove_port(const Port* port) {
  for (auto& [name, entry] : entries_)
    std::erase_if(entry->endpoints, [port](const auto& endpoint) { return endpoint->port == port; });
}

void Directory::remove_link(transport::LinkId link) {
  for (auto& [name, entry] : entries_)
    std::erase_if(entry->endpoints, [link](const auto& endpoint) { return endpoint->remote() && endpoint->link == link; });
}

SplitPath split_path(std::string_view path) {
  const size_t slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash == 0 || slash == std::string_view::npos) return {};
  return {path.substr(1, slash - 1), path.substr(slash + 1)};
}

}  // namespace mrpc::dataplane
