// The whole index on disk.
//
// A file is a header and six sections, little-endian, each section preceded by {length, checksum}: the tree, parents before children, with the
// number of vectors in each leaf, and how far maintain() has come; then, in the order of those leaves, ids, rows, and access sets (how many, then who; the owner first); then
// the tenants that are unloaded; then what searches have learnt (stop.h). Tenants' trees, codes and the id map follow from these and are
// made anew, codes with the rows by a thread of its own. It is written from a Cut: what changes in place is copied under the writer's lock,
// some 4 bytes a grant; rows and ids stay in their slots as long as the cut holds its guard, and are read while others write. Nothing read is trusted: lengths are compared with what is there before memory is
// taken, and what loads passes check().
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <future>
#include <limits>

#include "checksum.h"
#include "index.h"

namespace curator {
namespace {

constexpr uint64_t kMagic = 0x524F544152555843;  // "CXURATOR"
constexpr uint32_t kVersion = 1;

struct Header {
  uint64_t magic;
  uint32_t version, dim;
  uint32_t metric, element, shortlist_max, leaf_max, branching;
  float recall;
  uint64_t seed, vectors;
  uint64_t checksum;  // of all above
};
static_assert(sizeof(Header) == 64);

struct NodeRecord {
  uint32_t child, fanout, vectors, grown, split_at;  // child index under its parent, with marks; vectors of a leaf
};
// Marks of what maintain() is at: a node whose vectors leave; the one that is mended; it has its new children.
constexpr uint32_t kDraining = 1u << 31, kMending = 1u << 30, kTrained = 1u << 29, kMarks = kDraining | kMending | kTrained;

// Writes a section at a time; its length and checksum are filled in when it ends.
class Writer {
 public:
  explicit Writer(std::FILE* file) : file_(file) {}
  void put(const void* data, size_t size) {
    sum_.add(data, size);
    length_ += size;
    raw(data, size);
  }
  void begin() {
    sum_ = {};
    length_ = 0;
    at_ = std::ftell(file_);
    const uint64_t blank[2] = {};
    raw(blank, sizeof blank);
  }
  void end() {
    const uint64_t filled[2] = {length_, sum_.value()};
    good_ = good_ && std::fseek(file_, at_, SEEK_SET) == 0;
    raw(filled, sizeof filled);
    good_ = good_ && std::fseek(file_, 0, SEEK_END) == 0;
  }
  void section(const void* data, size_t size) {
    begin();
    put(data, size);
    end();
  }
  void raw(const void* data, size_t size) { good_ = good_ && (size == 0 || std::fwrite(data, size, 1, file_) == 1); }
  bool good() const { return good_; }

 private:
  std::FILE* file_;
  Checksum sum_;
  uint64_t length_ = 0;
  long at_ = 0;
  bool good_ = true;
};

Error damaged(size_t offset, const char* what) {
  return mrpc::invalid_argument("damaged image at offset " + std::to_string(offset) + ": " + what + "; restore it from an earlier one");
}

// A part of the image, read from the front.
class Section {
 public:
  Section() = default;
  Section(std::string_view bytes, size_t offset) : bytes_(bytes), offset_(offset) {}
  template <typename T>
  bool take(T* out, size_t count) {
    if (count > bytes_.size() / sizeof(T)) return false;
    if (count > 0) std::memcpy(out, bytes_.data(), count * sizeof(T));
    bytes_.remove_prefix(count * sizeof(T));
    offset_ += count * sizeof(T);
    return true;
  }
  template <typename T>
  bool take(T& out) { return take(&out, 1); }
  std::string_view cut(size_t bytes) {  // which are there
    const std::string_view front = bytes_.substr(0, bytes);
    bytes_.remove_prefix(front.size());
    offset_ += front.size();
    return front;
  }
  size_t size() const { return bytes_.size(); }
  std::string_view rest() const { return bytes_; }
  size_t offset() const { return offset_; }
  Error bad(const char* what) const { return damaged(offset_, what); }

 private:
  std::string_view bytes_;
  size_t offset_ = 0;
};

Result<Section> next_section(std::string_view image, size_t& at) {
  uint64_t head[2];
  Section section(image.substr(at), at);
  if (!section.take(head, 2)) return section.bad("it ends here");
  at += sizeof head;
  if (head[0] > image.size() - at) return section.bad("a section is longer than the file");
  const std::string_view content = image.substr(at, head[0]);
  if (checksum(content.data(), content.size()) != head[1]) return section.bad("the checksum of the section that follows does not match");
  at += content.size();
  return Section(content, at - content.size());
}

// A file in memory, read ahead.
class MappedFile {
 public:
  static std::optional<MappedFile> of(int file) {  // nothing: errno says why
    struct stat about;
    if (::fstat(file, &about) != 0) return std::nullopt;
    const auto size = static_cast<size_t>(about.st_size);
    void* const data = size == 0 ? nullptr : ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
    if (data == MAP_FAILED) return std::nullopt;
    return MappedFile({static_cast<const char*>(data), size});
  }
  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  ~MappedFile() {
    if (!bytes_.empty()) ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
  }
  std::string_view bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::string_view bytes) : bytes_(bytes) {}

  std::string_view bytes_;
};

}  // namespace

class Image {
 public:
  Image(Index& index, uint64_t vectors) : index_(index), vectors_(vectors), dim_(index.options_.dim) {}

  Status load(std::string_view image, size_t at) {
    Section sections[6];
    for (Section& section : sections) {
      auto next = next_section(image, at);
      if (!next) return next.error();
      section = *next;
    }
    if (at != image.size()) return damaged(at, "there is more than an image");
    auto& [tree, ids, rows, access, unloaded, learnt] = sections;
    if (ids.size() / sizeof(VectorId) != vectors_ || ids.size() % sizeof(VectorId) != 0) return ids.bad("not as many ids as vectors");
    if (rows.size() / index_.store_.row_bytes() != vectors_ || rows.size() % index_.store_.row_bytes() != 0) return rows.bad("not as many rows as vectors");
    if (Status good = load_tree(tree, kNone); !good) return good;
    if (tree.size() > 0 || leaf_vectors_ != vectors_) return tree.bad("the tree and the number of vectors do not agree");
    if (Status good = load_resting(unloaded); !good) return good;
    place();
    auto beside = std::async(std::launch::async, [this, &content = rows] { return load_rows(content); });  // so that Clang 14 takes it
    const Status others_good = load_others(ids, access), rows_good = beside.get();
    if (!rows_good) return rows_good;
    if (!others_good) return others_good;
    index_.publish_all(seen_);
    auto stop = Stop::from_image(learnt.rest());
    if (!stop) return learnt.bad("budgets that cannot be");
    index_.stops_.restore(std::move(*stop), index_);
    return mrpc::ok_status();
  }

 private:
  Status load_tree(Section& in, NodeId parent) {
    NodeRecord record;
    std::vector<float> centroid(dim_);
    if (!in.take(record) || !in.take(centroid.data(), dim_)) return in.bad("the tree ends early");
    if (!std::all_of(centroid.begin(), centroid.end(), [](float x) { return std::abs(x) <= std::numeric_limits<float>::max(); })) {
      return in.bad("a centroid holds NaN or infinity");
    }
    if (record.fanout > kFanoutMax || (record.fanout > 0 && record.vectors > 0)) return in.bad("a node is neither leaf nor inner node");
    const uint32_t child = record.child & ~kMarks;
    NodeId id = kRoot;
    if (parent != kNone) {
      const Node& above = index_.tree_.node(parent);
      const bool in_order = child < kFanoutMax && child >= above.children.size();
      if (!in_order || above.depth == kDepthMax) return in.bad("a node has a place that cannot be");
      id = index_.tree_.add(parent, child, centroid.data());
    }
    if (record.child & kMending) {
      if (index_.mending_ != kNone || record.fanout == 0) return in.bad("a leaf is mended, or a second node");
      index_.mending_ = id, index_.trained_ = record.child & kTrained;
    }
    Node& node = index_.tree_.node(id);
    node.draining = record.child & kDraining;
    if (node.draining && parent != index_.mending_) return in.bad("vectors leave a node for no other");
    node.grown = record.grown;
    node.split_at = record.split_at;
    leaf_vectors_ += record.vectors;
    if (record.vectors > std::max(index_.options_.leaf_max, record.split_at)) return in.bad("a leaf holds too much");
    if (record.fanout == 0) leaves_.emplace_back(id, record.vectors);
    for (uint32_t i = 0; i < record.fanout; ++i) {
      if (Status good = load_tree(in, id); !good) return good;
    }
    return mrpc::ok_status();
  }

  void place() {
    index_.store_.expect(vectors_);
    slots_.reserve(vectors_);
    for (const auto& [leaf, count] : leaves_) {
      for (uint32_t i = 0; i < count; ++i) slots_.push_back(index_.tree_.place(leaf));
      index_.tree_.count(leaf, static_cast<int32_t>(count));
    }
  }

  Status load_rows(Section& rows) {
    for (const Slot slot : slots_) {
      const NodeId reference = index_.tree_.node(index_.store_.leaf(slot)).reference;
      const std::string_view row = rows.cut(index_.store_.row_bytes());
      if (!index_.store_.restore_row(slot, row.data(), index_.tree_.centroid(reference))) return rows.bad("a vector holds NaN or infinity");
    }
    return mrpc::ok_status();
  }

  Status load_others(Section& ids, Section& access) {
    index_.ids_.reserve(vectors_);
    for (size_t i = 0; i < slots_.size(); ++i) {
      const Slot slot = slots_[i];
      VectorId id;
      if (!ids.take(id) || index_.ids_.find(id) != kNone) return ids.bad("an id comes twice");
      index_.store_.restore_id(slot, id);
      index_.ids_.insert(id, slot);
      if (slot % kChunk == 0) {
        const auto end = std::find_if(slots_.begin() + i, slots_.end(), [slot](Slot other) { return other / kChunk != slot / kChunk; });
        index_.store_.access(slot).reserve(grants_ahead(access, static_cast<uint32_t>(end - slots_.begin() - i)));
      }
      if (Status good = load_access(slot, access); !good) return good;
    }
    return access.size() > 0 ? access.bad("more access sets than vectors") : mrpc::ok_status();
  }

  // How many tenants the next sets name, as far as that is there.
  static uint32_t grants_ahead(Section access, uint32_t sets) {
    size_t all = 0;
    for (uint32_t count; sets > 0 && access.take(count) && count <= access.size() / sizeof(TenantId); --sets) {
      access.cut(count * sizeof(TenantId));
      all += count;
    }
    return static_cast<uint32_t>(all);
  }

  // Vectors come in the order of paths, and so does what each tenant sees.
  Status load_access(Slot slot, Section& access) {
    uint32_t count;
    if (!access.take(count) || count == 0 || count > access.size() / sizeof(TenantId)) return access.bad("an access set is empty or too long");
    tenants_.resize(count);
    access.take(tenants_.data(), count);
    for (const TenantId tenant : tenants_) {
      if (!index_.see(tenant, slot, seen_)) return access.bad("an access set names a tenant twice");
    }
    index_.store_.access(slot).assign(slot % kChunk, tenants_);
    return mrpc::ok_status();
  }

  Status load_resting(Section& unloaded) {
    std::vector<TenantId> resting(unloaded.size() / sizeof(TenantId));
    if (unloaded.size() % sizeof(TenantId) != 0) return unloaded.bad("half a tenant");
    unloaded.take(resting.data(), resting.size());
    for (const TenantId tenant : resting) index_.tenant_records_[index_.record_of(tenant)].unloaded = true;
    return mrpc::ok_status();
  }

  Index& index_;
  const uint64_t vectors_;
  const uint32_t dim_;
  uint64_t leaf_vectors_ = 0;
  std::vector<std::pair<NodeId, uint32_t>> leaves_;
  std::vector<Slot> slots_;  // of the vectors, as they come
  std::vector<TenantId> tenants_;
  Index::Seen seen_;
};

Cut::Cut(const Index& index) : index_(index), guard_(index.read()) {
  slots_.reserve(index.size());
  add_node(kRoot, 0);
  size_t grants = 0;
  for (uint32_t record = 0; record < index.tenants_used_; ++record) {
    const Tenant& tenant = index.tenant_records_[record];
    if (index.tenants_.find(tenant.id) != record) continue;
    grants += tenant.count;
    if (tenant.unloaded) unloaded_.push_back(tenant.id);
  }
  access_.reserve(slots_.size() + grants);
  for (const Slot slot : slots_) {
    const auto set = index.store_.access(slot).of(slot % kChunk);
    access_.push_back(static_cast<uint32_t>(set.size()));
    access_.insert(access_.end(), set.begin(), set.end());
  }
  learnt_ = index.stops_.image(index);
}

void Cut::add_node(NodeId id, uint32_t child) {
  const Node& node = index_.tree_.node(id);
  child |= node.draining ? kDraining : 0;
  if (id == index_.mending_) child |= kMending | (index_.trained_ ? kTrained : 0);
  const NodeRecord record{child, node.leaf ? 0 : index_.tree_.fanout(id), node.leaf ? node.count : 0, node.grown, node.split_at};
  tree_.append(reinterpret_cast<const char*>(&record), sizeof record);
  tree_.append(reinterpret_cast<const char*>(index_.tree_.centroid(id)), index_.options_.dim * sizeof(float));
  if (node.leaf) {
    const auto mine = index_.tree_.slots(id);
    slots_.insert(slots_.end(), mine.begin(), mine.end());
  }
  for (uint32_t i = 0; i < node.children.size(); ++i) {
    if (node.children[i] != kNone) add_node(node.children[i], i);
  }
}

Status Cut::save(const std::string& path) const {
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  const auto failed = [&] { return mrpc::unavailable(path + ": " + std::strerror(errno)); };
  if (file == nullptr) return failed();
  Writer out(file);
  errno = 0;
  const Options& o = index_.options_;
  Header header{kMagic,       kVersion,    o.dim,    static_cast<uint32_t>(o.metric), static_cast<uint32_t>(o.element), o.shortlist_max,
                o.leaf_max,   o.branching, o.recall, o.seed,                          slots_.size(),                    0};
  header.checksum = checksum(&header, sizeof header - sizeof header.checksum);
  out.raw(&header, sizeof header);
  out.section(tree_.data(), tree_.size());
  out.begin();
  for (const Slot slot : slots_) {
    const VectorId id = index_.store_.id(slot);
    out.put(&id, sizeof id);
  }
  out.end();
  out.begin();
  for (const Slot slot : slots_) out.put(index_.store_.row(slot), index_.store_.row_bytes());
  out.end();
  out.section(access_.data(), access_.size() * sizeof access_[0]);
  out.section(unloaded_.data(), unloaded_.size() * sizeof unloaded_[0]);
  out.section(learnt_.data(), learnt_.size());
  const bool written = out.good() && std::fflush(file) == 0;
  Status result = written ? mrpc::ok_status() : Status(failed());
  if (std::fclose(file) != 0 && written) result = failed();
  return result;
}

Result<std::unique_ptr<Cut>> Index::cut() const {
  const std::lock_guard lock(writer_);
  if (const Status whole = check_whole(); !whole) return whole.error();
  return std::unique_ptr<Cut>(new Cut(*this));
}

Result<std::unique_ptr<Index>> Index::from_image(std::string_view image) {
  Header header;
  if (image.size() < sizeof header) return damaged(image.size(), "it ends within its header");
  std::memcpy(&header, image.data(), sizeof header);
  if (header.magic != kMagic) return damaged(0, "this is not an image of an index");
  if (header.version != kVersion) {
    return mrpc::invalid_argument("the image is of version " + std::to_string(header.version) + ", this build reads version " + std::to_string(kVersion));
  }
  if (header.checksum != checksum(&header, sizeof header - sizeof header.checksum)) return damaged(0, "the header's checksum does not match");
  if (header.metric > 2 || header.element > 1) return damaged(0, "it names a metric or type that there is not");
  const Options options{header.dim,      static_cast<Metric>(header.metric), static_cast<Element>(header.element), header.shortlist_max,
                        header.leaf_max, header.branching,                   header.recall,                        header.seed};
  if (const Status good = check_options(options); !good) return damaged(0, good.error().text.c_str());
  auto index = std::make_unique<Index>(options);
  const Status loaded = Image(*index, header.vectors).load(image, sizeof header);
  if (!loaded) return loaded.error();
  return index;
}

Result<std::unique_ptr<Index>> Index::load(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto failed = [&] { return mrpc::unavailable(path + ": " + std::strerror(errno)); };
  if (file < 0) return failed();
  const auto mapped = MappedFile::of(file);
  const Error error = failed();
  ::close(file);
  return mapped ? from_image(mapped->bytes()) : error;
}

}  // namespace curator
