// The attach server's part of a hot restart: its listener, every connection to app.sock, what each has registered.
#include <algorithm>

#include "dataplane/attach_server.h"
#include "dataplane/takeover/reader.h"
#include "dataplane/takeover/writer.h"

namespace mrpc::dataplane {

void AttachServer::park() {
  park_.close([this] { post({}); });
}

void AttachServer::unpark() { park_.open(); }

void AttachServer::abandon() {
  stopping_ = true;
  park_.open();
  thread_.join();
}

bool AttachServer::settle() {
  {
    const std::lock_guard lock(mutex_);
    if (posted_.empty()) return false;
  }
  run_posted();
  return true;
}

void AttachServer::export_state(TakeoverWriter& into) {
  TakeoverState& state = into.state;
  state.next_attachment = next_id_;
  state.next_handle = next_handle_;
  state.next_schema = next_schema_;
  state.listener_fd = into.add_fd(listener_.get());
  for (const auto& [id, connection] : connections_) {
    TakeoverAttachment saved;
    saved.id = id;
    saved.uid = connection.uid;
    saved.accepted_ns = connection.accepted_ns;
    saved.schema_bytes = connection.schema_bytes;
    saved.handle_count = static_cast<uint32_t>(connection.handle_count);
    saved.first_fd = into.add_fd(connection.socket.get());
    saved.has_pidfd = static_cast<bool>(connection.pidfd);
    if (connection.pidfd) into.add_fd(connection.pidfd.get());
    for (const auto& [schema_id, schema] : connection.schemas) saved.schemas.push_back({schema_id, into.add_schema(*schema)});
    if (connection.assembler.open()) {
      const shm::ControlMessage& partial = connection.assembler.partial();
      saved.partial_open = 1;
      saved.partial_kind = static_cast<uint32_t>(partial.kind);
      saved.partial_request = partial.request_id;
      saved.partial_body = as_text(partial.body);
    }
    if (connection.attachment) {
      const Attachment& attachment = *connection.attachment;
      const Identity& who = attachment.identity;
      saved.role = static_cast<uint32_t>(attachment.role);
      saved.pid = who.pid;
      saved.app = who.app;
      saved.principal = who.principal;
      saved.label = who.label;
      saved.send_heap_bytes = attachment.send_heap_bytes();
      saved.receive_heap_bytes = attachment.receive_heap_bytes();
      for (const int fd : attachment.takeover_fds()) into.add_fd(fd);
      into.add_memory(connection.attachment);
    }
    state.attachments.push_back(std::move(saved));
    for (const Given& given : connection.given) {
      TakeoverService& service = state.services.emplace_back(TakeoverService{id, given.handle_base, given.offered, given.service, given.app, {}});
      service.shard = given.shard;
      service.schema_index = into.add_schema(*given.schema);
      service.withdrawn = given.withdrawn;
    }
  }
  // In the order in which they came: round robin goes on as it was.
  std::ranges::sort(state.services, {}, &TakeoverService::handle_base);
}

Status AttachServer::import_state(TakeoverReader& from) {
  const TakeoverState& state = from.state;
  listener_ = from.take_fd(state.listener_fd);
  if (!listener_) return invalid_argument("the predecessor sent no app.sock");
  next_id_ = state.next_attachment;
  next_handle_ = state.next_handle;
  next_schema_ = state.next_schema;
  if (Status opened = open_loop(); !opened) return opened;
  for (const TakeoverAttachment& saved : state.attachments)
    if (Status imported = import_connection(from, saved); !imported) return imported;
  for (const TakeoverService& saved : state.services)
    if (Status imported = import_service(from, saved); !imported) return imported;
  return from.status();
}

Status AttachServer::import_connection(TakeoverReader& from, const TakeoverAttachment& saved) {
  if (saved.id == 0 || saved.id >= next_id_ || connections_.count(saved.id) != 0) return invalid_argument("an attachment's id cannot be");
  Connection& connection = connections_[saved.id];
  uint32_t next_fd = saved.first_fd;
  connection.uid = saved.uid;
  connection.accepted_ns = saved.accepted_ns;
  connection.schema_bytes = saved.schema_bytes;
  connection.handle_count = saved.handle_count;
  connection.socket = from.take_fd(next_fd++);
  if (saved.has_pidfd != 0) connection.pidfd = from.take_fd(next_fd++);
  if (!connection.socket || (saved.has_pidfd != 0 && !connection.pidfd)) return invalid_argument("an attachment without its socket");
  for (const TakeoverSchemaRef& ref : saved.schemas) connection.schemas.emplace(ref.id, from.schema(ref.schema));
  if (saved.partial_open != 0) {
    const auto body = std::as_bytes(std::span(saved.partial_body));
    connection.assembler.restore({static_cast<abi::ControlKind>(saved.partial_kind), saved.partial_request, {body.begin(), body.end()}, {}});
  }
  Peers& peers = peers_of_uid_[connection.uid];
  peers.connections += 1;
  peers.silent += saved.role == 0;
  silent_ += saved.role == 0;
  watch_connection(saved.id, connection);
  if (saved.role == 0) return ok_status();
  std::vector<Fd> fds;
  for (uint32_t i = 0; i < 5 + config_.shards; ++i) fds.push_back(from.take_fd(next_fd++));
  Identity who{saved.uid, saved.pid, saved.app, saved.principal, saved.label, registrar_.grants_of(saved.app)};
  auto made = Attachment::adopt(saved.id, static_cast<abi::Role>(saved.role), std::move(who), config_, saved.send_heap_bytes,
                                saved.receive_heap_bytes, std::move(fds));
  if (!made) return made.error();
  connection.attachment = *made;
  from.attachments.emplace(saved.id, *made);
  attached_.emplace(saved.id, *made);
  return ok_status();
}

Status AttachServer::import_service(TakeoverReader& from, const TakeoverService& saved) {
  const auto known = connections_.find(saved.attachment);
  const auto variant = from.variant(saved.schema_index, saved.service);
  if (known == connections_.end() || !known->second.attachment || !variant) return invalid_argument("a service of nobody, or without a schema");
  Connection& connection = known->second;
  connection.given.push_back({saved.handle_base, saved.offered != 0, saved.service, saved.app_filter, variant->schema, saved.shard, saved.withdrawn != 0});
  if (saved.offered == 0) return ok_status();
  if (saved.withdrawn != 0) return ok_status();
  OfferedSchema& known_as = schemas_by_service_[saved.service];
  known_as.schema = variant->schema;
  known_as.offers += 1;
  connection.offered.emplace(saved.service, variant->schema);
  return registrar_.claim(saved.service, connection.attachment->identity.principal);
}

}  // namespace mrpc::dataplane
