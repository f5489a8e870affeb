// Messages to images, in canonical order. The same walk runs twice: with a Measure it finds the sizes, with a Writer it
// writes. What is still a view is copied from its image part by part, without making Python objects: a received image may have
// its large content behind the rest, where segments stood, so it is not always canonical when it is taken as a whole.
#include <algorithm>

#include "bind/message/codec.h"
#include "bind/message/containers.h"
#include "bind/message/value.h"
#include "message/map_key.h"
#include "shm/abi.h"

namespace mrpc::bind {
namespace {

using message::MapKey;
using message::load;
using message::Ref;

constexpr uint64_t kImageBytesMax = UINT32_MAX;
constexpr uint64_t align8(uint64_t value) { return (value + 7) & ~uint64_t{7}; }
constexpr uint64_t align_blob(uint64_t value) { return (value + abi::kBlobAlign - 1) & ~(abi::kBlobAlign - 1); }

using Bytes = std::span<const std::byte>;

class Measure {
 public:
  Measure(EncodePlan& plan, IsHeapBlob is_heap_blob) : plan_(plan), is_heap_blob_(is_heap_blob) {}

  uint64_t append(uint64_t bytes) {
    const uint64_t at = align8(end_);
    end_ = at + bytes;
    return at;
  }
  uint64_t append_struct(uint64_t bytes) { return append(bytes); }
  template <typename T>
  void set(uint64_t, const T&) {}
  void copy(uint64_t, Bytes) {}
  void scalar(uint64_t, Storage, PyObject*) {}
  void present(uint64_t, const FieldLayout&) {}

  // Where the content stands that went into a segment; 0: it is to stand inline.
  uint64_t segment(Bytes content, PyObject* owner) {
    if (owner == nullptr || content.size() < kBlobBytesMin || !is_heap_blob_(content.data(), content.size())) return 0;
    plan_.blobs.push_back({content.data(), content.size(), Py_NewRef(owner)});
    return 1;
  }

  void finish() {
    plan_.inline_bytes = plan_.image_bytes = end_;
    for (const BlobRef& blob : plan_.blobs) plan_.image_bytes = align_blob(plan_.image_bytes) + blob.length;
  }

 private:
  EncodePlan& plan_;
  IsHeapBlob is_heap_blob_;
  uint64_t end_ = 0;
};

class Writer {
 public:
  Writer(const EncodePlan& plan, std::byte* dst) : plan_(plan), dst_(dst), segment_at_(align_blob(plan.inline_bytes)) {}

  uint64_t append(uint64_t bytes) {
    const uint64_t at = align8(end_);
    MRPC_ASSERT(at + bytes <= plan_.inline_bytes);
    std::memset(dst_ + end_, 0, at - end_);
    end_ = at + bytes;
    return at;
  }
  uint64_t append_struct(uint64_t bytes) {
    const uint64_t at = append(bytes);
    std::memset(dst_ + at, 0, bytes);
    return at;
  }
  template <typename T>
  void set(uint64_t at, const T& value) { std::memcpy(dst_ + at, &value, sizeof value); }
  void copy(uint64_t at, Bytes content) { std::memcpy(dst_ + at, content.data(), content.size()); }
  void scalar(uint64_t at, Storage storage, PyObject* value) { store_value(storage, value, dst_ + at); }
  void present(uint64_t struct_at, const FieldLayout& field) { dst_[struct_at + 8 + field.index / 8] |= std::byte{1} << (field.index % 8); }

  uint64_t segment(Bytes content, PyObject* owner) {
    if (owner == nullptr || next_ == plan_.blobs.size()) return 0;
    const BlobRef& blob = plan_.blobs[next_];
    if (blob.data != content.data() || blob.length != content.size()) return 0;
    ++next_;
    const uint64_t at = segment_at_;
    segment_at_ = align_blob(at + blob.length);
    return at;
  }

  void finish() { MRPC_ASSERT(end_ == plan_.inline_bytes && next_ == plan_.blobs.size()); }

 private:
  const EncodePlan& plan_;
  std::byte* dst_;
  uint64_t segment_at_;
  uint64_t end_ = 0;
  size_t next_ = 0;
};

struct Entry {
  MapKey order;
  PyObject *key, *value;
};

std::vector<Entry> sorted_entries(PyObject* items, const FieldLayout& key_field) {
  std::vector<Entry> entries;
  entries.reserve(static_cast<size_t>(PyDict_GET_SIZE(items)));
  Entry entry;
  for (Py_ssize_t position = 0; PyDict_Next(items, &position, &entry.key, &entry.value);) {
    if (key_field.type == FieldType::kString) {
      const Bytes text = text_of(entry.key);
      entry.order = {0, {reinterpret_cast<const char*>(text.data()), text.size()}};
    } else {
      uint64_t bits = 0;
      store_value(storage_of(key_field.type), entry.key, reinterpret_cast<std::byte*>(&bits));
      entry.order = message::integer_key(key_field.type, bits);
    }
    entries.push_back(entry);
  }
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.order < b.order; });
  return entries;
}

template <typename Sink>
class Walk {
 public:
  explicit Walk(Sink& sink) : sink_(sink) {}

  void message(MessageObject* self, uint64_t at) {
    if (self->is_view()) return view(self->view(), self->owner, at);
    if (self->unknown != nullptr) content(bytes_of(self->unknown), nullptr, at);
    for (const FieldInfo& field : self->info->fields) {
      PyObject* value = self->slots[field.layout->index];
      if (value != nullptr) object_field(field, value, at);
    }
  }

 private:
  // ---- from Python objects ----

  void object_field(const FieldInfo& field, PyObject* value, uint64_t struct_at) {
    const FieldLayout& layout = *field.layout;
    const uint64_t at = struct_at + layout.offset;
    if (layout.cardinality == Cardinality::kMap) return map(as_map(value)->items, field, at);
    if (layout.cardinality == Cardinality::kRepeated) return repeated(field, value, at);
    if (field.is_message() && as_node(value)->stub) return;
    if (layout.has_presence) sink_.present(struct_at, layout);
    singular(layout, value, at);
  }

  void singular(const FieldLayout& layout, PyObject* value, uint64_t at) {
    switch (layout.type) {
      case FieldType::kString: return content(text_of(value), nullptr, at);
      case FieldType::kBytes: return content(bytes_of(value), value, at);
      case FieldType::kMessage: {
        const uint64_t child = sink_.append_struct(layout.message->struct_bytes);
        sink_.set(at, Ref{static_cast<uint32_t>(child), layout.message->struct_bytes});
        return message(as_message(value), child);
      }
      default: return sink_.scalar(at, storage_of(layout.type), value);
    }
  }

  void content(Bytes bytes, PyObject* owner, uint64_t ref_at) { array(bytes, bytes.size(), owner, ref_at); }

  // `bytes` that count as `count` elements, inline or as a segment.
  void array(Bytes bytes, uint64_t count, PyObject* owner, uint64_t ref_at) {
    if (bytes.empty()) return;
    uint64_t at = segments_allowed_ ? sink_.segment(bytes, owner) : 0;
    if (at == 0) sink_.copy(at = sink_.append(bytes.size()), bytes);
    sink_.set(ref_at, Ref{static_cast<uint32_t>(at), static_cast<uint32_t>(count)});
  }

  void repeated(const FieldInfo& field, PyObject* value, uint64_t ref_at) {
    const FieldLayout& layout = *field.layout;
    if (storage_of(layout.type) != Storage::kOutOfLine) {
      NumericObject* numbers = as_numeric(value);
      const bool blob = layout.type != FieldType::kBool && layout.type != FieldType::kEnum;
      return array({numbers->packed->data, numbers->packed->bytes}, numbers->size(), blob ? numbers->keeper() : nullptr, ref_at);
    }
    ListObject* list = as_list(value);
    const auto count = static_cast<uint64_t>(PyList_GET_SIZE(list->items));
    if (count == 0) return;
    const uint64_t at = sink_.append_struct(count * layout.element_bytes);
    sink_.set(ref_at, Ref{static_cast<uint32_t>(at), static_cast<uint32_t>(count)});
    for (uint64_t i = 0; i < count; ++i) element(layout, list, i, at + i * layout.element_bytes);
  }

  void element(const FieldLayout& layout, ListObject* list, uint64_t i, uint64_t at) {
    PyObject* item = PyList_GET_ITEM(list->items, static_cast<Py_ssize_t>(i));
    const bool messages = layout.type == FieldType::kMessage;
    if (item != Py_None) return messages ? message(as_message(item), at) : singular(layout, item, at);
    const std::byte* from = list->elements + i * layout.element_bytes;
    if (messages) return view({list->image, from, layout.message}, list->owner, at);
    const auto ref = load<Ref>(from);
    view_content(layout, {list->image + ref.offset, ref.length}, list->owner, at);
  }

  void map(PyObject* items, const FieldInfo& field, uint64_t ref_at) {
    if (PyDict_GET_SIZE(items) == 0) return;
    const MessageLayout& entry_layout = *field.layout->message;
    const std::vector<Entry> entries = sorted_entries(items, *field.key);
    const uint64_t at = sink_.append_struct(entries.size() * entry_layout.struct_bytes);
    sink_.set(ref_at, Ref{static_cast<uint32_t>(at), static_cast<uint32_t>(entries.size())});
    const bool allowed = std::exchange(segments_allowed_, false);
    for (size_t i = 0; i < entries.size(); ++i) {
      const uint64_t entry_at = at + i * entry_layout.struct_bytes;
      singular(*field.key, entries[i].key, entry_at + field.key->offset);
      singular(*field.value->layout, entries[i].value, entry_at + field.value->layout->offset);
    }
    segments_allowed_ = allowed;
  }

  // ---- from an image ----

  void view(const MessageView& from, PyObject* owner, uint64_t at) {
    const auto unknown = load<Ref>(from.fields);
    if (unknown.length != 0) content({from.image + unknown.offset, unknown.length}, nullptr, at);
    for (uint32_t word = 0; word < from.layout->presence_words; ++word)
      sink_.set(at + 8 + 8 * word, load<uint64_t>(from.fields + 8 + 8 * word));
    for (const FieldLayout& layout : from.layout->fields) {
      if (layout.out_of_line()) view_part(from, layout, owner, at + layout.offset);
      else sink_.copy(at + layout.offset, {from.fields + layout.offset, layout.element_bytes});
    }
  }

  void view_part(const MessageView& from, const FieldLayout& layout, PyObject* owner, uint64_t ref_at) {
    const Ref ref = from.ref(layout);
    if (ref.length == 0) return;
    const std::byte* data = from.image + ref.offset;
    if (layout.type == FieldType::kMessage) return view_messages(from, layout, ref, owner, ref_at);
    if (layout.cardinality == Cardinality::kSingular) return view_content(layout, {data, ref.length}, owner, ref_at);
    if (storage_of(layout.type) == Storage::kOutOfLine) return view_contents(from, layout, ref, owner, ref_at);
    const bool blob = layout.type != FieldType::kBool && layout.type != FieldType::kEnum;
    array({data, uint64_t{ref.length} * layout.element_bytes}, ref.length, blob ? owner : nullptr, ref_at);
  }

  void view_content(const FieldLayout& layout, Bytes bytes, PyObject* owner, uint64_t ref_at) {
    content(bytes, layout.type == FieldType::kBytes ? owner : nullptr, ref_at);
  }

  void view_contents(const MessageView& from, const FieldLayout& layout, Ref refs, PyObject* owner, uint64_t ref_at) {
    const uint64_t at = sink_.append_struct(uint64_t{refs.length} * sizeof(Ref));
    sink_.set(ref_at, Ref{static_cast<uint32_t>(at), refs.length});
    for (uint64_t i = 0; i < refs.length; ++i) {
      const auto ref = load<Ref>(from.image + refs.offset + i * sizeof(Ref));
      view_content(layout, {from.image + ref.offset, ref.length}, owner, at + i * sizeof(Ref));
    }
  }

  void view_messages(const MessageView& from, const FieldLayout& layout, Ref ref, PyObject* owner, uint64_t ref_at) {
    const uint64_t bytes = layout.message->struct_bytes;
    const uint64_t count = layout.cardinality == Cardinality::kSingular ? 1 : ref.length;
    const uint64_t at = sink_.append_struct(count * bytes);
    sink_.set(ref_at, Ref{static_cast<uint32_t>(at), ref.length});
    const bool allowed = std::exchange(segments_allowed_, segments_allowed_ && layout.cardinality != Cardinality::kMap);
    for (uint64_t i = 0; i < count; ++i) view({from.image, from.image + ref.offset + i * bytes, layout.message}, owner, at + i * bytes);
    segments_allowed_ = allowed;
  }

  Sink& sink_;
  // A map's values stand inline, so that nothing depends on a lookup by key in segment order.
  bool segments_allowed_ = true;
};

template <typename Sink>
void run(MessageObject* self, Sink& sink) {
  const uint64_t root = sink.append_struct(self->info->layout->struct_bytes);
  Walk<Sink>(sink).message(self, root);
  sink.finish();
}

}  // namespace

bool plan_encode(PyObject* object, EncodePlan& plan, IsHeapBlob is_heap_blob) {
  if (!is_message(object)) {
    PyErr_Format(PyExc_TypeError, "expected a message, got %s", Py_TYPE(object)->tp_name);
    return false;
  }
  MessageObject* self = as_message(object);
  Measure measure(plan, is_heap_blob);
  run(self, measure);
  if (plan.image_bytes <= kImageBytesMax) return true;
  PyErr_Format(PyExc_ValueError, "message %s takes %llu bytes; a message can be at most 4 GiB", self->info->layout->full_name.c_str(),
               static_cast<unsigned long long>(plan.image_bytes));
  return false;
}

void encode(PyObject* object, const EncodePlan& plan, std::byte* dst) {
  Writer writer(plan, dst);
  run(as_message(object), writer);
}

PyObject* decode(PyTypeObject* cls, std::span<const std::byte> image, PyObject* owner) {
  MessageObject* self = new_view(class_info(cls), image.data(), image.data(), owner);
  if (self != nullptr) self->image_bytes = image.size();
  return as_object(self);
}

Owned image_of(PyObject* object) {
  EncodePlan plan;
  if (!plan_encode(object, plan)) return {};
  Owned image(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(plan.inline_bytes)));
  if (image) encode(object, plan, reinterpret_cast<std::byte*>(PyBytes_AS_STRING(image.get())));
  return image;
}

}  // namespace mrpc::bind
