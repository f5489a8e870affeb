#include "message/fingerprint.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <unordered_set>

namespace mrpc::message {
namespace {

class Canonical {
 public:
  Canonical& number(uint64_t value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Canonical& text(std::string_view text) {
    number(text.size());
    bytes_.append(text);
    return *this;
  }
  Canonical& digest(const Sha256& digest) {
    bytes_.append(reinterpret_cast<const char*>(digest.data()), digest.size());
    return *this;
  }
  Sha256 hash() const { return sha256(bytes_); }

 private:
  std::string bytes_;
};

void add_field(Canonical& out, const FieldLayout& f, const Sha256& enum_digest) {
  out.text(f.name).text(f.json_name).number(f.number);
  out.number(static_cast<uint64_t>(f.type)).number(static_cast<uint64_t>(f.cardinality));
  out.number(f.has_presence).number(f.packed).number(f.validate_utf8);
  out.number(static_cast<uint64_t>(f.oneof + 1)).number(f.default_bits).text(f.default_text);
  out.text(f.message ? std::string_view(f.message->full_name) : std::string_view()).digest(enum_digest);
}

}  // namespace

const Sha256& Fingerprinter::enumeration(const EnumLayout& layout) {
  const auto [at, fresh] = digests_.try_emplace(&layout);
  if (!fresh) return at->second;
  Canonical out;
  out.text("enum").text(layout.full_name).number(layout.closed).number(layout.values.size());
  for (const auto& [name, number] : layout.values) out.text(name).number(static_cast<uint64_t>(int64_t{number}));
  return at->second = out.hash();
}

const Sha256& Fingerprinter::message(const MessageLayout& layout) {
  const auto [at, fresh] = digests_.try_emplace(&layout);
  if (!fresh) return at->second;
  Sha256& digest = at->second;  // references outlive the insertions below
  Canonical out;
  out.text("message").text(layout.full_name).number(layout.map_entry).number(layout.oneofs.size());
  for (const auto& name : layout.oneofs) out.text(name);
  out.number(layout.fields.size());
  for (const auto& f : layout.fields) add_field(out, f, f.enumeration ? enumeration(*f.enumeration) : Sha256{});
  return digest = out.hash();
}

std::vector<const MessageLayout*> Fingerprinter::reach(const ServiceLayout& service) {
  std::vector<const MessageLayout*> reached;  // those from `next` on have not been looked into
  std::unordered_set<const MessageLayout*> seen;
  const auto add = [&](const MessageLayout* m) {
    if (seen.insert(m).second) reached.push_back(m);
  };
  for (const auto& method : service.methods) add(method.request), add(method.reply);
  for (size_t next = 0; next < reached.size() && work_ <= kFingerprintWorkMax; ++next) {
    const MessageLayout* m = reached[next];
    work_ += 1 + m->fields.size();
    for (const auto& f : m->fields) {
      if (f.message) add(f.message);
    }
  }
  std::sort(reached.begin(), reached.end(), [](const auto* a, const auto* b) { return a->full_name < b->full_name; });
  return reached;
}

uint64_t Fingerprinter::service(const ServiceLayout& service) {
  const auto reached = reach(service);
  if (work_ > kFingerprintWorkMax) return 0;
  std::map<std::string_view, const MethodLayout*> methods;
  for (const auto& m : service.methods) methods.emplace(m.name, &m);
  Canonical out;
  out.text("mrpc service").number(kLayoutVersion).text(service.full_name).number(methods.size());
  for (const auto& [name, m] : methods) {
    out.text(name).number(m->client_streaming).number(m->server_streaming).text(m->request->full_name).text(m->reply->full_name);
  }
  out.number(reached.size());
  for (const MessageLayout* layout : reached) out.digest(message(*layout));
  const Sha256 digest = out.hash();
  uint64_t fingerprint = 0;
  std::memcpy(&fingerprint, digest.data(), sizeof fingerprint);
  return fingerprint;
}

}  // namespace mrpc::message
