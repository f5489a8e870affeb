#include <csignal>
#include <cstdio>
#include <cstring>

#include "load/null_server.h"
#include "load/schema_file.h"
#include "message/layout.h"
#include "shm/block.h"
#include "stub/stub.h"

namespace mrpc::load {
namespace {

volatile std::sig_atomic_t stopping = 0;

Status answer(stub::Server& server, stub::Incoming& call, const message::ServiceLayout& service) {
  const uint32_t bytes = service.methods[call.method()].reply->struct_bytes;
  const shm::BlockShape shape{.inline_bytes = bytes};
  auto block = server.allocate(call, shm::block_bytes(shape));
  if (!block) return block.error();
  shm::BlockWriter writer(block->data(), shape);
  std::memset(writer.image(), 0, bytes);  // all fields absent
  writer.finish();
  return server.reply(call, StatusCode::kOk, std::move(*block), true);
}

}  // namespace

Status serve_null_mrpc(const std::string& name, const std::string& schema_file) {
  auto bytes = read_schema_file(schema_file);
  if (!bytes) return bytes.error();
  auto schema = message::Schema::parse(*bytes);
  if (!schema) return schema.error();
  const message::ServiceLayout* service = (*schema)->service(name);
  if (service == nullptr) return invalid_argument("the schema has no service " + name);
  auto server = stub::Server::attach({.socket_path = {}, .label = "mrpc-load null server", .token = {}});
  if (!server) return server.error();
  if (auto offered = (*server)->offer(*bytes, name); !offered) return offered.error();
  std::signal(SIGINT, [](int) { stopping = 1; });
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::printf("null server on %s\n", name.c_str());
  std::fflush(stdout);
  stub::IncomingPtr call;
  while ((*server)->next(call, [] { return stopping != 0; }) == stub::NextOutcome::kCall)
    if (Status s = answer(**server, *call, *service); !s) return s;
  (*server)->stop(0);
  return ok_status();
}

}  // namespace mrpc::load
