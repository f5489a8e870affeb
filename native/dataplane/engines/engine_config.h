// Reading an engine's configuration strictly: a value of a wrong type, or one that nobody asked for, is an error.
#pragma once

#include <set>
#include <string>

#include "dataplane/engine.h"

namespace mrpc::dataplane {

class ConfigReader {
 public:
  explicit ConfigReader(const EngineConfig& config) : config_(config) {}

  template <typename T>
  const T* find(const std::string& key, const char* type) {
    const auto at = config_.find(key);
    known_.insert(key);
    if (at == config_.end()) return nullptr;
    if (const T* value = std::get_if<T>(&at->second)) return value;
    fail("'" + key + "' must be " + type);
    return nullptr;
  }
  double number(const std::string& key, double otherwise) {
    if (const auto at = config_.find(key); at != config_.end() && std::holds_alternative<int64_t>(at->second)) {
      known_.insert(key);
      return static_cast<double>(std::get<int64_t>(at->second));
    }
    const double* value = find<double>(key, "a number");
    return value == nullptr ? otherwise : *value;
  }
  void require(bool condition, const std::string& text) {
    if (!condition) fail(text);
  }
  // Call last.
  Status done() {
    for (const auto& [key, value] : config_)
      if (known_.count(key) == 0) fail("unknown setting '" + key + "'");
    if (error_.empty()) return ok_status();
    return invalid_argument(error_);
  }

 private:
  void fail(const std::string& text) {
    if (error_.empty()) error_ = text;
  }

  const EngineConfig& config_;
  std::set<std::string> known_;
  std::string error_;
};

}  // namespace mrpc::dataplane
