// Who may be which app, and who may offer which service. Filled by the control plane, asked by the attach server.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/tenant.h"

namespace mrpc::dataplane {

constexpr size_t kNamesOfPrincipalMax = 4096;  // names of services are held for good

using TokenHash = std::array<uint8_t, 32>;  // SHA-256

struct AppRecord {
  std::string name;
  uint32_t uid = 0;
  TokenHash token{};
  TenantGrants::Names act_as = {};
};

class Registrar {
 public:
  void set_apps(std::vector<AppRecord> apps);
  void set_owners(std::map<std::string, std::string> owners);

  // The app that a process of `uid` with `token` is: a registered name, or "uid:NNN" without a token.
  // Errors: kUnauthenticated for a token that is not known, or not of this uid.
  Result<std::string> identify(uint32_t uid, std::string_view token) const;
  // For which tenants `app` may call, now and after changes to come: it may be asked for before set_apps. Null for "uid:NNN".
  std::shared_ptr<const TenantGrants> grants_of(const std::string& app);
  // Lets `principal` offer `service`; the first to offer a name holds it. Errors: kPermissionDenied, kResourceExhausted.
  Status claim(const std::string& service, const std::string& principal);

 private:
  mutable std::mutex mutex_;
  std::vector<AppRecord> apps_;
  std::map<std::string, std::shared_ptr<TenantGrants>> grants_;  // by app; also of apps that are not registered, as long as somebody asks
  std::map<std::string, std::string> owners_;
};

}  // namespace mrpc::dataplane
