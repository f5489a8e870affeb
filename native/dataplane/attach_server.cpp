#include "dataplane/attach_server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "dataplane/hello.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

namespace mrpc::dataplane {
namespace {

constexpr uint64_t kHelloTimeoutNs = 5'000'000'000;
constexpr size_t kSilentMax = 1024, kSilentOfUidMax = 256;
constexpr size_t kConnectionsMax = 4096, kConnectionsOfUidMax = 1024;
constexpr size_t kFdsOfConnection = 12;  // and a doorbell a shard
constexpr size_t kHandlesMax = 65536;    // methods bound or offered by one attachment
constexpr uint64_t kSchemaBytesMax = 32ull << 20;  // of one attachment

// What an epoll event is about: the kind in the high half, a connection's id in the low.
constexpr uint64_t kListener = 1ull << 32, kWake = 2ull << 32, kSocket = 3ull << 32, kProcess = 4ull << 32;

void watch(int epoll, int fd, uint64_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

// Tells death even when a forked child keeps the socket open.
Fd pidfd_of_peer(int socket) {
  int fd = -1;
  socklen_t bytes = sizeof fd;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD, &fd, &bytes) == 0 ? Fd(fd) : Fd();
}

uid_t uid_of_peer(int socket) {
  ucred peer{};
  socklen_t bytes = sizeof peer;
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 ? peer.uid : static_cast<uid_t>(-1);
}

// No user may take more than a quarter of the descriptors that this process can have, once it has all that it may have.
size_t connections_of_uid(uint32_t shards) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 32;
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) (void)::getrlimit(RLIMIT_NOFILE, &limit);
  return std::clamp<size_t>(limit.rlim_cur / (kFdsOfConnection + shards) / 4, 16, kConnectionsOfUidMax);
}

const char* role_name(abi::Role role) { return role == abi::Role::kServer ? "server" : "client"; }

std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace

AttachServer::AttachServer(const Config& config, Registrar& registrar, ShardGate& shards, EventQueue& events)
    : config_(config), registrar_(registrar), shards_(shards), events_(events) {}

AttachServer::~AttachServer() { stop(); }

Status AttachServer::start() {
  if (!listener_) {  // else it came from a predecessor, and is watched already
    if (Status bound = bind_listener(); !bound) return bound;
    if (Status opened = open_loop(); !opened) return opened;
  }
  thread_ = std::thread([this] { run(); });
  return ok_status();
}

Status AttachServer::bind_listener() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& path = config_.socket_path;
  if (path.size() >= sizeof address.sun_path) return unavailable("the path of app.sock is too long: " + path);
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ::unlink(path.c_str());  // the caller holds the daemon's lock: whatever stands there is stale
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0666) != 0 || ::listen(listener_.get(), 128) != 0)
    return unavailable("cannot listen on " + path + ": " + std::strerror(errno));
  return ok_status();
}

Status AttachServer::open_loop() {
  connections_of_uid_max_ = connections_of_uid(config_.shards);
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !wake_) return resource_exhausted("out of descriptors");
  watch(epoll_.get(), listener_.get(), kListener);
  watch(epoll_.get(), wake_.get(), kWake);
  return ok_status();
}

void AttachServer::stop() {
  if (!thread_.joinable()) return;
  post([this] {
    while (!connections_.empty()) close(connections_.begin()->first, unavailable("mrpcd has stopped"));
    stopping_ = true;
  });
  thread_.join();
  ::unlink(config_.socket_path.c_str());
}

void AttachServer::run() {
  epoll_event events[64];
  for (;;) {
    park_.pass();
    if (stopping_) return;
    const bool paused = !accepting_;
    const int ready = ::epoll_wait(epoll_.get(), events, 64, silent_ > 0 || !accepting_ ? 1000 : -1);
    for (int i = 0; i < ready; ++i) {
      const uint64_t tag = events[i].data.u64;
      const auto id = static_cast<uint32_t>(tag);
      switch (tag & ~uint64_t{UINT32_MAX}) {
        case kListener: accept_all(); break;
        case kWake: run_posted(); break;
        case kSocket: read_packets(id); break;
        case kProcess: close(id, unavailable("its process has died")); break;
      }
    }
    if (silent_ > 0) expire_silent();
    if (paused) resume_accepting();  // one may have closed, or a second has passed: others in this process have descriptors, too
  }
}

void AttachServer::accept_all() {
  for (;;) {
    Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket) return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM ? pause_accepting() : void();
    if (silent_ >= kSilentMax || connections_.size() >= kConnectionsMax) continue;  // closed: try again later
    told_full_ = false;
    const uid_t uid = uid_of_peer(socket.get());
    Peers& peers = peers_of_uid_[uid];
    if (peers.silent >= kSilentOfUidMax || peers.connections >= connections_of_uid_max_) {
      refuse_crowd(std::move(socket), uid);
      continue;
    }
    peers.silent += 1;
    peers.connections += 1;
    const uint32_t id = next_id_++;
    Connection& connection = connections_[id];
    connection.uid = uid;
    connection.accepted_ns = monotonic_ns();
    connection.pidfd = pidfd_of_peer(socket.get());
    connection.socket = std::move(socket);
    silent_ += 1;
    watch_connection(id, connection);
  }
}

// Who waits in the listener's queue would make it readable for ever.
void AttachServer::pause_accepting() {
  if (!std::exchange(accepting_, false)) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  if (std::exchange(told_full_, true)) return;
  ControlEvent event;
  event.kind = "refused";
  event.text = "mrpcd is out of descriptors: no application can attach until one leaves; raise LimitNOFILE";
  events_.push(std::move(event));
}

void AttachServer::resume_accepting() {
  accepting_ = true;
  watch(epoll_.get(), listener_.get(), kListener);
}

void AttachServer::watch_connection(uint32_t id, const Connection& connection) {
  watch(epoll_.get(), connection.socket.get(), kSocket | id);
  if (connection.pidfd) watch(epoll_.get(), connection.pidfd.get(), kProcess | id);
}

void AttachServer::refuse_crowd(Fd socket, uid_t uid) {
  Connection crowded;
  crowded.socket = std::move(socket);
  (void)refuse(crowded, 0, resource_exhausted("uid " + std::to_string(uid) + " has too many connections to mrpcd; close some"));
}

void AttachServer::read_packets(uint32_t id) {
  std::vector<std::byte> packet;
  for (int budget = 64; budget > 0; --budget) {
    const auto known = connections_.find(id);
    if (known == connections_.end()) return;
    std::vector<Fd> fds;
    bool got = false;
    if (Status s = shm::receive_packet(known->second.socket.get(), false, packet, fds, &got); !s) return close(id, s.error());
    if (!got) return;
    auto message = known->second.assembler.feed(packet, {});
    if (!message) return close(id, message.error());
    if (!*message && !known->second.attachment) return close(id, invalid_argument("a hello comes in one packet"));
    if (!*message) continue;
    if (Status s = on_message(id, known->second, std::move(**message)); !s) return close(id, s.error());
  }
}

// An error ends the attachment. What an application may get wrong and go on is answered by refuse() instead.
Status AttachServer::on_message(uint32_t id, Connection& connection, shm::ControlMessage&& message) {
  if (!connection.attachment && message.kind != abi::ControlKind::kHello) return invalid_argument("say hello first");
  switch (message.kind) {
    case abi::ControlKind::kHello: return on_hello(id, connection, message);
    case abi::ControlKind::kRegisterSchema: return on_register_schema(connection, message);
    case abi::ControlKind::kBind: return on_bind(id, connection, message);
    case abi::ControlKind::kOffer: return on_offer(id, connection, message);
    case abi::ControlKind::kWithdraw: return on_withdraw(id, connection, message);
    case abi::ControlKind::kRegionRetired:
    case abi::ControlKind::kRingReplaced: return ok_status();
    case abi::ControlKind::kGoodbye: return Error{StatusCode::kOk, "detached"};
    default: return invalid_argument("a control message that no application may send");
  }
}

Status AttachServer::on_hello(uint32_t id, Connection& connection, const shm::ControlMessage& message) {
  if (connection.attachment) return invalid_argument("hello said twice");
  const auto hello = parse_hello(message);
  if (!hello) return hello.error();
  if (!connection.pidfd)
    return Error{StatusCode::kFailedPrecondition, "the kernel cannot tell which process attaches (SO_PEERPIDFD); Linux 6.5 or later is needed"};
  ucred peer{};
  socklen_t bytes = sizeof peer;
  if (::getsockopt(connection.socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return internal_error("SO_PEERCRED failed");
  auto app = registrar_.identify(peer.uid, hello->token);
  if (!app) return app.error();
  return welcome(id, connection, message, hello->head, {peer.uid, peer.pid, *app, "uid:" + std::to_string(peer.uid), hello->label, registrar_.grants_of(*app)});
}

Status AttachServer::welcome(uint32_t id, Connection& connection, const shm::ControlMessage& message, const abi::Hello& hello, Identity identity) {
  auto made = Attachment::create(id, static_cast<abi::Role>(hello.role), std::move(identity), config_);
  if (!made) return made.error();
  connection.attachment = *made;
  silent_ -= 1;
  peers_of_uid_[connection.uid].silent -= 1;
  const auto records = connection.attachment->region_records();
  abi::Welcome welcome{};
  welcome.level = std::min(hello.level_max, abi::kLevel);
  welcome.shard_count = static_cast<uint16_t>(config_.shards);
  welcome.attachment_id = id;
  welcome.features = hello.features & abi::kFeatures;
  welcome.message_bytes_max = config_.message_bytes_max;
  welcome.send_quota_bytes = config_.send_quota_bytes;
  welcome.receive_quota_bytes = config_.receive_quota_bytes;
  welcome.ring_slots = config_.ring_slots;
  welcome.generation = 1;
  welcome.metadata_bytes_max = abi::kMetadataBytesMax;
  welcome.region_count = static_cast<uint32_t>(records.size());
  welcome.daemon_pid = static_cast<uint64_t>(::getpid());
  std::vector<std::byte> body;
  shm::append_pod(body, welcome);
  for (const auto& record : records) shm::append_pod(body, record);
  {
    const std::lock_guard lock(mutex_);
    attached_.emplace(id, connection.attachment);
  }
  shards_.add_port(connection.attachment);
  report("attached", connection, "", "");
  return reply(connection, abi::ControlKind::kWelcome, message, std::move(body), connection.attachment->welcome_fds());
}

Status AttachServer::on_register_schema(Connection& connection, const shm::ControlMessage& message) {
  connection.schema_bytes += message.body.size();
  if (connection.schema_bytes > kSchemaBytesMax) return resource_exhausted("too many schemas were registered by one attachment");
  auto schema = message::Schema::parse(message.body);
  if (!schema) return refuse(connection, message.request_id, schema.error());
  const uint32_t schema_id = next_schema_++;
  connection.schemas.emplace(schema_id, *schema);
  std::vector<std::byte> body;
  shm::append_pod(body, abi::SchemaRegistered{schema_id, 0});
  return reply(connection, abi::ControlKind::kSchemaRegistered, message, std::move(body));
}

Status AttachServer::on_bind(uint32_t id, Connection& connection, const shm::ControlMessage& message) {
  const auto ref = message.head<abi::ServiceRef>();
  if (!ref) return ref.error();
  const std::string names = text_of(message.tail(sizeof(abi::ServiceRef)));
  const std::string service = names.substr(0, names.find('\0'));
  const std::string target = names.size() > service.size() ? names.substr(service.size() + 1) : "";
  const auto schema = connection.schemas.find(ref->schema_id);
  const message::ServiceLayout* layout = schema == connection.schemas.end() ? nullptr : schema->second->service(service);
  if (layout == nullptr) return refuse(connection, message.request_id, invalid_argument("the schema has no service '" + service + "'"));
  if (Status room = take_handles(connection, layout->methods.size()); !room) return refuse(connection, message.request_id, room.error());
  // A target is a service's full name first, then an app's: one that is no service narrows the choice of endpoints.
  const bool narrows = !target.empty() && target != service && schema->second->service(target) == nullptr && !schema_of(target);
  std::vector<std::shared_ptr<BoundMethod>> methods;
  std::vector<std::byte> body;
  const auto shard = static_cast<uint32_t>(std::hash<std::string>{}(service) % config_.shards);
  const auto count = static_cast<uint32_t>(layout->methods.size());
  shm::append_pod(body, abi::Bound{shard, count});
  for (uint32_t i = 0; i < count; ++i) {
    methods.push_back(bind_method(schema->second, *layout, layout->methods[i], narrows ? target : "", connection.attachment->identity.app));
    shm::append_pod(body, abi::MethodRecord{next_handle_ + i, 0});
  }
  connection.given.push_back({next_handle_, false, service, narrows ? target : "", schema->second, shard, false});
  shards_.bind(id, shard, next_handle_, std::move(methods));
  next_handle_ += count;
  return reply(connection, abi::ControlKind::kBound, message, std::move(body));
}

Status AttachServer::on_offer(uint32_t id, Connection& connection, const shm::ControlMessage& message) {
  const auto ref = message.head<abi::ServiceRef>();
  if (!ref) return ref.error();
  if (connection.attachment->role != abi::Role::kServer) return invalid_argument("a client offers no services");
  const std::string service = text_of(message.tail(sizeof(abi::ServiceRef)));
  const auto schema = connection.schemas.find(ref->schema_id);
  const message::ServiceLayout* layout = schema == connection.schemas.end() ? nullptr : schema->second->service(service);
  if (layout == nullptr) return refuse(connection, message.request_id, invalid_argument("the schema has no service '" + service + "'"));
  if (Status room = take_handles(connection, layout->methods.size()); !room) return refuse(connection, message.request_id, room.error());
  if (connection.offered.count(service) != 0)
    return refuse(connection, message.request_id, {StatusCode::kAlreadyExists, "'" + service + "' is offered by this server already"});
  const Status claimed = registrar_.claim(service, connection.attachment->identity.principal);
  if (!claimed) {
    report("refused", connection, service, claimed.error().text);
    return refuse(connection, message.request_id, claimed.error());
  }
  std::vector<std::byte> body;
  const auto count = static_cast<uint32_t>(layout->methods.size());
  shm::append_pod(body, abi::Offered{next_handle_, count});
  for (uint32_t i = 0; i < count; ++i) shm::append_pod(body, abi::MethodRecord{next_handle_ + i, 0});
  connection.offered.emplace(service, schema->second);
  {
    const std::lock_guard lock(mutex_);
    OfferedSchema& offered = schemas_by_service_[service];
    offered.schema = schema->second;
    offered.offers += 1;
  }
  connection.given.push_back({next_handle_, true, service, "", schema->second, 0, false});
  shards_.offer(id, next_handle_, std::make_shared<ServiceVariant>(ServiceVariant{schema->second, layout}));
  next_handle_ += count;
  report("offered", connection, service, "");
  return reply(connection, abi::ControlKind::kOffered, message, std::move(body));
}

void AttachServer::forget_offer(const std::string& service) {
  const std::lock_guard lock(mutex_);
  const auto known = schemas_by_service_.find(service);
  if (known != schemas_by_service_.end() && --known->second.offers == 0) schemas_by_service_.erase(known);
}

Status AttachServer::take_handles(Connection& connection, size_t count) {
  count = std::max<size_t>(count, 1);  // a service without methods is remembered, too
  if (connection.handle_count + count > kHandlesMax)
    return resource_exhausted("one attachment has bound or offered too many methods; bind each service once");
  connection.handle_count += count;
  return ok_status();
}

Status AttachServer::on_withdraw(uint32_t id, Connection& connection, const shm::ControlMessage& message) {
  if (message.body.size() < sizeof(abi::ServiceRef)) return invalid_argument("malformed withdrawal");
  const std::string service = text_of(message.tail(sizeof(abi::ServiceRef)));
  if (connection.offered.erase(service) != 0) {
    forget_offer(service);
    for (Given& given : connection.given) given.withdrawn |= given.offered && given.service == service;
    shards_.withdraw(id, service);
    report("withdrawn", connection, service, "");
  }
  return reply(connection, abi::ControlKind::kWithdrawn, message, {});
}

// A full socket is an application that does not read: it is not waited for.
Status AttachServer::reply(Connection& connection, abi::ControlKind kind, const shm::ControlMessage& to, std::vector<std::byte> body,
                           std::span<const int> fds) {
  return shm::send_control(connection.socket.get(), kind, to.request_id, body, fds, 0);
}

Status AttachServer::refuse(Connection& connection, uint32_t request_id, const Error& error) {
  std::vector<std::byte> body;
  shm::append_pod(body, abi::ControlError{static_cast<uint32_t>(error.code), 0});
  const auto text = std::as_bytes(std::span(error.text)).first(std::min<size_t>(error.text.size(), 1024));
  body.insert(body.end(), text.begin(), text.end());
  return shm::send_control(connection.socket.get(), abi::ControlKind::kError, request_id, body, {}, 0);
}

void AttachServer::close(uint32_t id, const Error& error) {
  const auto known = connections_.find(id);
  if (known == connections_.end()) return;
  Connection connection = std::move(known->second);
  connections_.erase(known);
  if (error.code != StatusCode::kOk) (void)refuse(connection, 0, error);
  Peers& peers = peers_of_uid_[connection.uid];
  if (!connection.attachment) peers.silent -= 1;
  if (--peers.connections == 0) peers_of_uid_.erase(connection.uid);
  if (!connection.attachment) {
    silent_ -= 1;
    if (error.code == StatusCode::kUnavailable) return;  // somebody who only looked whether we are here
    ControlEvent event{.kind = "refused", .app = "", .principal = "", .label = "", .role = "", .service = "", .peer = "", .text = error.text};
    return events_.push(std::move(event));
  }
  {
    const std::lock_guard lock(mutex_);
    attached_.erase(id);
  }
  for (const auto& [service, schema] : connection.offered) {
    forget_offer(service);
    report("withdrawn", connection, service, error.text);
  }
  connection.attachment->mark_closed();
  shards_.remove_port(connection.attachment, error.text);
  report("detached", connection, "", error.text);
}

void AttachServer::expire_silent() {
  const uint64_t now = monotonic_ns();
  std::vector<uint32_t> expired;
  for (const auto& [id, connection] : connections_)
    if (!connection.attachment && now - connection.accepted_ns > kHelloTimeoutNs) expired.push_back(id);
  for (const uint32_t id : expired) close(id, invalid_argument("no hello in time"));
}

void AttachServer::drain() {
  post([this] {
    for (auto& [id, connection] : connections_)
      if (connection.attachment) (void)shm::send_control(connection.socket.get(), abi::ControlKind::kDrain, 0, {}, {}, 0);
  });
}

void AttachServer::end_attachment(uint32_t id, Error error) {
  post([this, id, error = std::move(error)] { close(id, error); });
}

void AttachServer::post(std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(std::move(job));
  }
  const uint64_t one = 1;
  (void)!::write(wake_.get(), &one, sizeof one);
}

void AttachServer::run_posted() {
  uint64_t count;
  (void)!::read(wake_.get(), &count, sizeof count);
  std::vector<std::function<void()>> jobs;
  {
    const std::lock_guard lock(mutex_);
    jobs.swap(posted_);
  }
  for (auto& job : jobs)
    if (job) job();  // an empty one only wakes
}

std::vector<std::shared_ptr<Attachment>> AttachServer::attachments() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Attachment>> all;
  for (const auto& [id, attachment] : attached_) all.push_back(attachment);
  return all;
}

std::shared_ptr<const message::Schema> AttachServer::schema_of(const std::string& service) const {
  const std::lock_guard lock(mutex_);
  const auto known = schemas_by_service_.find(service);
  return known == schemas_by_service_.end() ? nullptr : known->second.schema;
}

void AttachServer::report(const char* kind, const Connection& connection, const std::string& service, const std::string& text) {
  const Identity& who = connection.attachment->identity;
  events_.push({kind, who.app, who.principal, who.label, role_name(connection.attachment->role), service, "", text,
                connection.attachment->id, static_cast<int64_t>(who.uid), who.pid});
}

}  // namespace mrpc::dataplane
