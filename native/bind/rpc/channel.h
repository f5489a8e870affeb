// What a Python Channel stands on: the process's client attachment, and the services bound through it.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "message/layout.h"
#include "stub/stub.h"

namespace mrpc::bind {

// A service as one channel sees it. Bound at the first call, which may block: without the GIL.
class ServiceBinding {
 public:
  ServiceBinding(std::shared_ptr<const message::Schema> schema, std::string service, std::string target)
      : schema_(std::move(schema)), service_(std::move(service)), target_(std::move(target)) {}

  const stub::BoundServicePtr& bound() const { return bound_; }  // null until bound; read with the GIL held
  void set_bound(stub::BoundServicePtr bound) { bound_ = std::move(bound); }  // with the GIL held
  Result<stub::BoundServicePtr> bind(stub::Client& client) const;

 private:
  std::shared_ptr<const message::Schema> schema_;
  std::string service_, target_;
  stub::BoundServicePtr bound_;
};

class ChannelCore {
 public:
  ChannelCore(std::string target, std::string label, std::string token);

  // The process's attachment to its daemon: one for all channels of one runtime directory. Blocks: call it without the GIL.
  // Errors: those of Client::attach; kFailedPrecondition for a channel that was opened before fork().
  Result<std::shared_ptr<stub::Client>> client();

  // The same once client() has succeeded, else null. For the call path.
  stub::Client* attached() const { return !inherited() ? attached_.load(std::memory_order_acquire) : nullptr; }

  std::shared_ptr<ServiceBinding> service(const std::shared_ptr<const message::Schema>& schema, const std::string& name);

  void close() { closed_ = true; }
  bool closed() const { return closed_; }

 private:
  bool inherited() const;  // through fork(): nothing may be called on it

  std::string target_;
  stub::AttachOptions options_;
  uint32_t process_generation_;
  std::atomic<bool> closed_ = false;
  std::mutex mutex_;
  std::shared_ptr<stub::Client> client_;
  std::atomic<stub::Client*> attached_ = nullptr;
  std::map<std::pair<const message::Schema*, std::string>, std::shared_ptr<ServiceBinding>> services_;
};

// Counts up in a child of fork(): what was made under a smaller number belongs to the parent.
uint32_t process_generation();

}  // namespace mrpc::bind
