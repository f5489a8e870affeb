#include "dataplane/registrar.h"

#include <algorithm>

#include <algorithm>

#include "message/sha256.h"

namespace mrpc::dataplane {
namespace {

// What every app offers for itself is nobody's; callers that care name the app (mrpc:///APP). registry.py has the same list.
constexpr std::string_view kUnowned[] = {"grpc.health.v1.Health"};

}  // namespace

void Registrar::set_apps(std::vector<AppRecord> apps) {
  const std::lock_guard lock(mutex_);
  for (auto& [name, grants] : grants_) grants->set({});
  for (AppRecord& app : apps) {
    auto& grants = grants_[app.name];
    if (!grants) grants = std::make_shared<TenantGrants>();
    grants->set(std::move(app.act_as));
  }
  std::erase_if(grants_, [&](const auto& known) {
    return known.second.use_count() == 1 && std::none_of(apps.begin(), apps.end(), [&](const AppRecord& app) { return app.name == known.first; });
  });
  apps_ = std::move(apps);
}

std::shared_ptr<const TenantGrants> Registrar::grants_of(const std::string& app) {
  if (app.find(':') != app.npos) return nullptr;
  const std::lock_guard lock(mutex_);
  auto& grants = grants_[app];
  if (!grants) grants = std::make_shared<TenantGrants>();
  return grants;
}

void Registrar::set_owners(std::map<std::string, std::string> owners) {
  const std::lock_guard lock(mutex_);
  owners_ = std::move(owners);
}

Result<std::string> Registrar::identify(uint32_t uid, std::string_view token) const {
  if (token.empty()) return "uid:" + std::to_string(uid);
  const TokenHash hash = message::sha256(token);
  const std::lock_guard lock(mutex_);
  for (const AppRecord& app : apps_)
    if (app.uid == uid && app.token == hash) return app.name;
  return Error{StatusCode::kUnauthenticated, "this token is not known for uid " + std::to_string(uid) +
                                                 "; register the app anew with 'mrpc app register NAME --uid " + std::to_string(uid) + "'"};
}

Status Registrar::claim(const std::string& service, const std::string& principal) {
  if (std::find(std::begin(kUnowned), std::end(kUnowned), service) != std::end(kUnowned)) return ok_status();
  const std::lock_guard lock(mutex_);
  auto owner = owners_.find(service);
  if (owner == owners_.end()) {
    const auto held = std::count_if(owners_.begin(), owners_.end(), [&](const auto& entry) { return entry.second == principal; });
    if (static_cast<size_t>(held) >= kNamesOfPrincipalMax)
      return resource_exhausted(principal + " holds " + std::to_string(held) + " service names already; an operator can free some with "
                                "'mrpc service release NAME'");
    owner = owners_.emplace(service, principal).first;
  }
  if (owner->second == principal) return ok_status();
  return Error{StatusCode::kPermissionDenied, "service '" + service + "' belongs to " + owner->second +
                                                  "; an operator can free the name with 'mrpc service release " + service + "'"};
}

}  // namespace mrpc::dataplane
