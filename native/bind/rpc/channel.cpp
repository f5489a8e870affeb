#include "bind/rpc/channel.h"

#include <pthread.h>

namespace mrpc::bind {
namespace {

std::atomic<uint32_t> generation = 0;

// The process's attachments by socket path. A program has one; tests that start several daemons have one for each.
struct Clients {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<stub::Client>> by_path;
};

// A child of fork() starts with none: what it inherited is the parent's, and a thread that is not here may have held the mutex.
Clients* clients = new Clients;

void start_anew_in_child() {
  generation.fetch_add(1);
  clients = new Clients;
}

[[maybe_unused]] const int fork_handler = pthread_atfork(nullptr, nullptr, start_anew_in_child);

Result<std::shared_ptr<stub::Client>> process_client(stub::AttachOptions options) {
  options.socket_path = stub::default_socket_path();
  std::lock_guard lock(clients->mutex);
  std::shared_ptr<stub::Client>& client = clients->by_path[options.socket_path];
  if (client) return client;
  Result<std::shared_ptr<stub::Client>> attached = stub::Client::attach(options);
  if (attached.ok()) client = *attached;
  return attached;
}

}  // namespace

uint32_t process_generation() { return generation.load(std::memory_order_relaxed); }

Result<stub::BoundServicePtr> ServiceBinding::bind(stub::Client& client) const {
  return client.bind(schema_->serialized(), service_, target_);
}

ChannelCore::ChannelCore(std::string target, std::string label, std::string token)
    : target_(std::move(target)), options_{{}, std::move(label), std::move(token)}, process_generation_(process_generation()) {}

bool ChannelCore::inherited() const { return process_generation_ != process_generation(); }

Result<std::shared_ptr<stub::Client>> ChannelCore::client() {
  if (inherited())
    return Error{StatusCode::kFailedPrecondition,
                 "this channel was opened before fork() and belongs to the parent process; open a channel in the child"};
  std::lock_guard lock(mutex_);
  if (client_) return client_;
  Result<std::shared_ptr<stub::Client>> client = process_client(options_);
  if (client.ok()) {
    client_ = *client;
    attached_.store(client_.get(), std::memory_order_release);
  }
  return client;
}

std::shared_ptr<ServiceBinding> ChannelCore::service(const std::shared_ptr<const message::Schema>& schema,
                                                     const std::string& name) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<ServiceBinding>& binding = services_[{schema.get(), name}];
  if (!binding) binding = std::make_shared<ServiceBinding>(schema, name, target_);
  return binding;
}

}  // namespace mrpc::bind
