// Image -> protobuf. The same walk runs twice: first it counts, noting each nested length in walk order; then it writes.
#include "message/image.h"
#include "message/scalar.h"
#include "message/wire.h"

namespace mrpc::message {
namespace {

class Counter {
 public:
  void varint(uint64_t value) { bytes_ += varint_bytes(value); }
  void raw(std::string_view bytes) { bytes_ += bytes.size(); }
  void fixed(uint64_t, uint32_t bytes) { bytes_ += bytes; }

  // A length, then what `body` writes, which is that long.
  template <typename F>
  void nested(F body) {
    const size_t slot = lengths_.size();
    lengths_.push_back(0);
    const uint64_t before = bytes_;
    body();
    lengths_[slot] = bytes_ - before;
    varint(lengths_[slot]);
  }

  uint64_t bytes() const { return bytes_; }
  const std::vector<uint64_t>& lengths() const { return lengths_; }

 private:
  uint64_t bytes_ = 0;
  std::vector<uint64_t> lengths_;
};

class Writer {
 public:
  Writer(std::byte* at, const std::vector<uint64_t>& lengths) : at_(at), lengths_(lengths) {}

  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) *at_++ = static_cast<std::byte>(value | 0x80);
    *at_++ = static_cast<std::byte>(value);
  }
  void raw(std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
  }
  void fixed(uint64_t bits, uint32_t bytes) {
    std::memcpy(at_, &bits, bytes);
    at_ += bytes;
  }
  template <typename F>
  void nested(F body) {
    varint(lengths_[next_++]);
    body();
  }

  const std::byte* at() const { return at_; }

 private:
  std::byte* at_;
  const std::vector<uint64_t>& lengths_;
  size_t next_ = 0;
};

template <typename Sink>
class Walk {
 public:
  explicit Walk(Sink& sink) : sink_(sink) {}

  void message(const MessageView& view) {
    for (const FieldLayout& field : view.layout->fields) {
      if (field.cardinality == Cardinality::kSingular) singular(view, field);
      else if (const Ref ref = view.ref(field); ref.length != 0) repeated(view, field, ref);
    }
    const Ref unknown = load<Ref>(view.fields);
    sink_.raw({reinterpret_cast<const char*>(view.image + unknown.offset), unknown.length});
  }

 private:
  void tag(const FieldLayout& field, WireType wire) { sink_.varint(wire_tag(field.number, wire)); }

  void singular(const MessageView& view, const FieldLayout& field) {
    const bool forced = view.layout->map_entry || (field.has_presence && view.present(field));
    if (field.has_presence && !forced) return;
    if (field.type == FieldType::kMessage) return child(field, view.child(field));
    if (!is_scalar(field.type)) {
      if (const auto text = view.text(field); forced || !text.empty()) content(field, text);
      return;
    }
    const uint64_t bits = load_bits(view.fields + field.offset, field.element_bytes);
    if (!forced && bits == 0) return;
    tag(field, wire_type(field.type));
    value(field, bits);
  }

  void repeated(const MessageView& view, const FieldLayout& field, Ref ref) {
    if (field.type == FieldType::kMessage) {
      for (uint32_t i = 0; i < ref.length; ++i) child(field, view.element(field, i));
    } else if (!is_scalar(field.type)) {
      for (uint32_t i = 0; i < ref.length; ++i) {
        const Ref element = load<Ref>(view.image + ref.offset + size_t{i} * sizeof(Ref));
        content(field, {reinterpret_cast<const char*>(view.image + element.offset), element.length});
      }
    } else if (field.packed) {
      tag(field, WireType::kBytes);
      sink_.nested([&] { values(view, field, ref, [](const FieldLayout&) {}); });
    } else {
      values(view, field, ref, [&](const FieldLayout& f) { tag(f, wire_type(f.type)); });
    }
  }

  template <typename F>
  void values(const MessageView& view, const FieldLayout& field, Ref ref, F before_each) {
    for (uint32_t i = 0; i < ref.length; ++i) {
      before_each(field);
      value(field, load_bits(view.image + ref.offset + size_t{i} * field.element_bytes, field.element_bytes));
    }
  }

  void value(const FieldLayout& field, uint64_t bits) {
    if (wire_type(field.type) == WireType::kVarint) sink_.varint(wire_of_bits(field.type, bits));
    else sink_.fixed(bits, field.element_bytes);
  }

  void content(const FieldLayout& field, std::string_view bytes) {
    tag(field, WireType::kBytes);
    sink_.varint(bytes.size());
    sink_.raw(bytes);
  }

  void child(const FieldLayout& field, const MessageView& view) {
    tag(field, WireType::kBytes);
    sink_.nested([&] { message(view); });
  }

  Sink& sink_;
};

}  // namespace

void to_protobuf(const MessageLayout& layout, std::span<const std::byte> image, std::vector<std::byte>& out) {
  const MessageView root = root_view(layout, image);
  Counter counter;
  Walk(counter).message(root);
  const size_t start = out.size();
  out.resize(start + counter.bytes());
  Writer writer(out.data() + start, counter.lengths());
  Walk(writer).message(root);
  MRPC_ASSERT(writer.at() == out.data() + out.size());
}

}  // namespace mrpc::message
