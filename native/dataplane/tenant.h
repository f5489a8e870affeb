// Tenants: on whose behalf a call is made.
//
// By default the calling app's own: its name. An app that operators granted others (`mrpc app register --act-as`, `mrpc app grant`) names one in the
// metadata key `mrpc-tenant`. The client half of the call checks the grant before any policy sees the call, and leaves exactly that pair in the
// message, so that it travels as the message does; every other reserved key of an application is removed. Between daemons it is the
// peer's word, as client names are. The serving application reads it from the same key, where the daemon puts the default, too.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace mrpc::dataplane {

inline constexpr std::string_view kTenantKey = "mrpc-tenant";

// Like an app's name: up to 63 of a-z 0-9 . _ -, no sign at the ends.
inline bool is_tenant_name(std::string_view name) {
  constexpr std::string_view kInner = "abcdefghijklmnopqrstuvwxyz0123456789._-", kEnds = kInner.substr(0, 36);
  return !name.empty() && name.size() <= 63 && name.find_first_not_of(kInner) == name.npos && kEnds.find(name.front()) != kEnds.npos &&
         kEnds.find(name.back()) != kEnds.npos;
}

// What one app has been granted. Shared by its attachments, so that a change holds for their next calls; any thread.
class TenantGrants {
 public:
  using Names = std::set<std::string, std::less<>>;  // "*" is any

  bool allows(std::string_view tenant) const {
    const std::lock_guard lock(mutex_);
    return is_tenant_name(tenant) && (names_.count("*") != 0 || names_.find(tenant) != names_.end());
  }
  void set(Names names) {
    const std::lock_guard lock(mutex_);
    names_ = std::move(names);
  }

 private:
  mutable std::mutex mutex_;
  Names names_;
};

}  // namespace mrpc::dataplane
