// Tenants that rest: their trees leave the memory as the sorted ids that they hold.
//
// While a tenant rests, its access sets stay and are the truth: others may delete what it was granted, nobody may grant to it. So of the
// ids that come back those count that still name the tenant, and there must be exactly as many as are counted for it: a blob that is
// old, of another index, or made up is refused.
#include <algorithm>
#include <cstring>

#include "checksum.h"
#include "index.h"

namespace curator {
namespace {

constexpr uint64_t kMagic = 0x31544E4154525543;  // "CURTANT1"

struct BlobHeader {
  uint64_t magic, checksum;  // of all that follows
  uint64_t tenant, count;
};

Error bad_blob(const char* why) { return mrpc::invalid_argument(std::string("not what unload() gave for this tenant: ") + why); }

}  // namespace

Result<std::string> Index::unload(TenantId id) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole.error();
  if (const Status loaded = check_loaded({&id, 1}); !loaded) return loaded.error();
  half_done_ = true;
  Tenant& known = tenant_records_[record_of(id)];
  Part* const root = known.root.load(std::memory_order_relaxed);
  std::vector<VectorId> ids;
  for (const Slot slot : slots_of(root)) ids.push_back(store_.id(slot));
  std::sort(ids.begin(), ids.end());
  const BlobHeader header{kMagic, 0, id, ids.size()};
  std::string blob(reinterpret_cast<const char*>(&header), sizeof header);
  blob.append(reinterpret_cast<const char*>(ids.data()), ids.size() * sizeof(VectorId));
  const uint64_t sum = checksum(blob.data() + 16, blob.size() - 16);
  std::memcpy(blob.data() + 8, &sum, sizeof sum);

  known.unloaded.store(true, std::memory_order_seq_cst);  // before the root goes: see seen_by()
  known.root.store(nullptr, std::memory_order_seq_cst);
  parts_.retire_tree(root);
  commit();
  return blob;
}

Status Index::reload(TenantId id, std::string_view blob) {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole;
  const uint32_t record = tenants_.find(id);
  if (record == kNone || !tenant_records_[record].unloaded) return mrpc::invalid_argument("tenant " + std::to_string(id) + " is not unloaded");
  BlobHeader header;
  if (blob.size() < sizeof header) return bad_blob("it is too short");
  std::memcpy(&header, blob.data(), sizeof header);
  if (header.magic != kMagic || header.tenant != id) return bad_blob("it is of another kind or tenant");
  const std::string_view content = blob.substr(sizeof header);
  if (header.count != content.size() / sizeof(VectorId) || content.size() % sizeof(VectorId) != 0) return bad_blob("its length is wrong");
  if (header.checksum != checksum(blob.data() + 16, blob.size() - 16)) return bad_blob("it is damaged (checksum)");
  std::vector<VectorId> ids(header.count);
  if (!ids.empty()) std::memcpy(ids.data(), content.data(), content.size());
  if (std::adjacent_find(ids.begin(), ids.end(), std::greater_equal<>()) != ids.end()) return bad_blob("its ids are not in order");

  std::vector<Slot> slots;
  for (const VectorId each : ids) {
    const Slot slot = ids_.find(each);
    if (slot != kNone && store_.access(slot).holds(slot % kChunk, id)) slots.push_back(slot);
  }
  Tenant& known = tenant_records_[record];
  if (slots.size() != known.count) return bad_blob("it does not hold all that the tenant may see");
  half_done_ = true;
  std::sort(slots.begin(), slots.end(), [this](Slot a, Slot b) { return store_.before(a, b); });
  known.root.store(parts_.build(kRoot, slots), std::memory_order_seq_cst);
  known.unloaded.store(false, std::memory_order_seq_cst);
  if (slots.empty()) forget(record);
  commit();
  return mrpc::ok_status();
}

}  // namespace curator
