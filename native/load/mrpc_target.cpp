// Unary calls through the stub's client, as an application would make them, minus Python: the request's image is laid out once and
// copied into a send block for each call; completions are drained by this thread when the wake descriptor tells.
#include <sys/epoll.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "load/clock.h"
#include "load/payloads.h"
#include "load/target.h"
#include "message/image.h"
#include "shm/block.h"
#include "stub/stub.h"

namespace mrpc::load {
namespace {

constexpr size_t kDrainMax = 256;
enum Tag : uint64_t { kWake = 1, kControl = 2 };

struct Method {
  std::string service, name;  // service: full name
};

// "mrpc:///pkg.Service/Method"
Result<Method> parse_target(std::string_view url) {
  constexpr std::string_view kScheme = "mrpc:///";
  const size_t slash = url.rfind('/');
  if (!url.starts_with(kScheme) || slash <= kScheme.size() || slash + 1 == url.size())
    return invalid_argument("an mrpc target is mrpc:///pkg.Service/Method");
  return Method{std::string(url.substr(kScheme.size(), slash - kScheme.size())), std::string(url.substr(slash + 1))};
}

Result<uint32_t> method_index(const message::ServiceLayout& service, const std::string& name) {
  for (uint32_t i = 0; i < service.methods.size(); ++i) {
    if (service.methods[i].name != name) continue;
    if (service.methods[i].client_streaming || service.methods[i].server_streaming)
      return Error{StatusCode::kUnimplemented, service.methods[i].path + " is a stream; mrpc-load drives unary methods"};
    return i;
  }
  return invalid_argument("service " + service.full_name + " has no method " + name);
}

class MrpcTarget final : public Target {
 public:
  MrpcTarget(const Options& options, int epoll_fd, Sink& sink, std::shared_ptr<stub::Client> client, stub::BoundServicePtr service,
             uint32_t method, std::vector<std::vector<std::byte>> images)
      : timeout_ns_(seconds_to_ns(options.timeout_s)), epoll_fd_(epoll_fd), sink_(sink), client_(std::move(client)),
        service_(std::move(service)), method_(method), images_(std::move(images)), calls_(options.in_flight_max) {
    for (const auto& [key, value] : options.metadata) metadata_.push_back({key, value});
    watch();
  }
  ~MrpcTarget() override { client_->disarm(); }

  uint32_t request_count() const override { return static_cast<uint32_t>(images_.size()); }
  bool can_send() const override { return true; }

  void send(uint32_t number, uint32_t request) override {
    const std::vector<std::byte>& image = images_[request];
    const shm::BlockShape shape{.metadata_bytes = shm::metadata_bytes(metadata_), .inline_bytes = image.size()};
    auto block = client_->allocate(shm::block_bytes(shape));
    if (!block) return refuse(number, block.error());
    shm::BlockWriter writer(block->data(), shape);
    writer.metadata(metadata_);
    std::memcpy(writer.image(), image.data(), image.size());
    writer.finish();
    stub::CallOptions options;
    options.deadline_ns = monotonic_ns() + timeout_ns_;
    options.on_done = [this, number] { done_.push_back(number); };
    auto call = client_->start(service_, method_, std::move(*block), std::move(options));
    if (!call) return refuse(number, call.error());
    calls_[number].call = std::move(*call);
  }

  void cancel(uint32_t number) override {
    Open& open = calls_[number];
    if (open.call) client_->cancel(*open.call);
    std::erase(done_, number);
    open = {};
  }

  bool turn() override {
    if (client_->epoch() != epoch_) watch();
    report();
    if (client_->arm()) return false;
    client_->drain(kDrainMax);
    return true;
  }

  void on_event(uint64_t tag, uint32_t) override {
    if (tag == kControl) {
      if (!client_->check_daemon()) epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, client_->control_fd(), nullptr);  // it stays readable
      return;
    }
    while (client_->drain(kDrainMax) == kDrainMax) {}
  }

 private:
  struct Open {
    stub::CallPtr call;
    Error refused;  // why it was never started
  };

  void watch() {
    epoch_ = client_->epoch();
    // Descriptors of an attachment that has ended left the epoll set when they were closed.
    for (const auto& [fd, tag] : {std::pair{client_->wake_fd(), kWake}, std::pair{client_->control_fd(), kControl}}) {
      epoll_event event{EPOLLIN, {.u64 = tag}};
      if (fd >= 0) epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event);
    }
    client_->arm();  // before the first send: without a loop that is armed the client would start a thread for callbacks
  }

  // send() may not report a call's end: the next turn does.
  void refuse(uint32_t number, const Error& error) {
    calls_[number].refused = error;
    done_.push_back(number);
  }

  void report() {
    std::vector<uint32_t> done;
    done.swap(done_);
    for (const uint32_t number : done) {
      const Open open = std::exchange(calls_[number], {});
      if (!open.call) {
        sink_.complete(number, code_of(open.refused.code), open.refused.text);
        continue;
      }
      const stub::Reply& reply = open.call->reply();
      sink_.complete(number, code_of(reply.code), reply.message());
    }
  }

  const uint64_t timeout_ns_;
  const int epoll_fd_;
  Sink& sink_;
  const std::shared_ptr<stub::Client> client_;
  const stub::BoundServicePtr service_;
  const uint32_t method_;
  const std::vector<std::vector<std::byte>> images_;
  std::vector<shm::MetadataPair> metadata_;
  std::vector<Open> calls_;
  std::vector<uint32_t> done_;  // told in the next turn
  uint64_t epoch_ = 0;
};

// A serialised google.protobuf.FileDescriptorSet. Errors: kInvalidArgument.
Result<std::vector<std::byte>> read_schema_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return invalid_argument("mrpc:/// needs --schema FILE, a serialised FileDescriptorSet");
  std::vector<std::byte> bytes;
  for (std::istreambuf_iterator<char> at(file), end; at != end; ++at) bytes.push_back(static_cast<std::byte>(*at));
  return bytes;
}

Result<std::vector<std::vector<std::byte>>> encode(const message::MessageLayout& layout, const std::string& payloads_file) {
  auto payloads = read_payloads(payloads_file);
  if (!payloads) return payloads.error();
  std::vector<std::vector<std::byte>> images;
  for (const std::string& payload : *payloads) {
    const Status made = message::from_protobuf(layout, std::as_bytes(std::span(payload)), {}, images.emplace_back());
    if (!made) return made.error();
  }
  return images;
}

}  // namespace

Result<std::unique_ptr<Target>> make_mrpc_target(const Options& options, int epoll_fd, Sink& sink) {
  auto target = parse_target(options.target);
  if (!target) return target.error();
  auto bytes = read_schema_file(options.schema_file);
  if (!bytes) return bytes.error();
  auto schema = message::Schema::parse(*bytes);
  if (!schema) return schema.error();
  const message::ServiceLayout* service = (*schema)->service(target->service);
  if (service == nullptr) return invalid_argument("the schema has no service " + target->service);
  auto method = method_index(*service, target->name);
  if (!method) return method.error();
  auto images = encode(*service->methods[*method].request, options.payloads_file);
  if (!images) return images.error();
  auto client = stub::Client::attach({.socket_path = {}, .label = "mrpc-load", .token = {}});
  if (!client) return client.error();
  auto bound = (*client)->bind(*bytes, target->service, target->service);
  if (!bound) return bound.error();
  return std::unique_ptr<Target>(new MrpcTarget(options, epoll_fd, sink, std::move(*client), std::move(*bound), *method, std::move(*images)));
}

}  // namespace mrpc::load
