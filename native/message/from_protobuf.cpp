// Protobuf -> canonical image, and re-laying by way of it.
//
// Merging two occurrences of a message is parsing their bytes one after the other. So a message to be laid out is a list of
// chunks of the input. Its fields are noted as runs (neighbours with the same number), sorted by field, and laid out in that order,
// each sub-message in turn as the list of its chunks. Each level looks only at its own tags and steps over what they hold, so time is
// linear in the input but for sorting; memory is the image, which is checked against the limit before it grows, and 12 bytes a run,
// of which there may only be so many.
// What a later value replaces (an earlier scalar, a cleared oneof member, a map entry of the same key) is not looked into.
#include <algorithm>

#include "message/builder.h"
#include "message/error_path.h"
#include "message/image.h"
#include "message/map_key.h"
#include "message/scalar.h"
#include "message/utf8.h"
#include "message/wire.h"

namespace mrpc::message {
namespace {

struct Chunk {
  uint32_t begin = 0, end = 0;  // of the input
};

// Whole fields with tags, side by side in the input. Input positions grow with time: `begin` also tells which came later.
struct Run {
  uint32_t key = 0;  // 0: unknown, else field index + 1
  uint32_t begin = 0, end = 0;
};

// Which member of a oneof was set last, and since where: what was before belongs to a member that has been cleared.
struct Choice {
  uint32_t key = 0;
  uint32_t since = 0;
};

struct MapItem {
  MapKey key;
  Chunk entry;
};

class Encoder {
 public:
  Encoder(std::string_view input, const Limits& limits, std::vector<std::byte>& out)
      : input_(input), builder_(out, limits.message_bytes_max), bytes_max_(limits.message_bytes_max) {}

  Status run(const MessageLayout& layout, uint32_t depth_max) {
    chunks_.push_back({0, static_cast<uint32_t>(input_.size())});
    const auto root = append(layout.struct_bytes);
    if (root && message(layout, 0, 1, *root, std::min(depth_max, kDepthCeiling))) return ok_status();
    return Error{code_, "message " + layout.full_name + (path_.empty() ? "" : ", field " + path_) + ": " + error_};
  }

 private:
  // ---- errors ----

  // Not inlined, nor what puts texts together: every level of recursion would have room for them on its stack.
  [[gnu::noinline]] bool fail(std::string_view error, StatusCode code = StatusCode::kInvalidArgument) {
    error_ = error;
    code_ = code;
    return false;
  }
  bool malformed() { return fail("the protobuf bytes are malformed or truncated"); }
  bool fail_in(const FieldLayout& field) { return prepend_field(path_, field.name), false; }
  [[gnu::noinline]] bool over_limit(const char* what) {
    const std::string limit = std::to_string(bytes_max_);
    return fail(what + (" the limit of " + limit) + " bytes; send less at a time, or raise message_bytes_max", StatusCode::kResourceExhausted);
  }

  std::optional<uint32_t> append(uint64_t bytes) {
    const auto at = builder_.append(bytes);
    if (!at) over_limit("its image is larger than");
    return at;
  }

  // Notes cost several times the bytes that they are about. Encoders write a field's occurrences together, so few are needed.
  bool room_for_notes(size_t count) {
    if (count <= 4096 + bytes_max_ / 16) return true;
    return fail("its fields are written in too many pieces; write each field's occurrences together", StatusCode::kResourceExhausted);
  }

  // ---- reading the input ----

  std::string_view slice(uint32_t begin, uint32_t end) const { return input_.substr(begin, end - begin); }
  uint32_t offset(const char* at) const { return static_cast<uint32_t>(at - input_.data()); }
  Chunk chunk(std::string_view bytes) const { return {offset(bytes.data()), offset(bytes.data() + bytes.size())}; }

  // Calls on_field(WireField, begin, end) for the fields of a part of the input, until it returns false.
  template <typename F>
  bool each_field(Chunk part, F on_field) {
    WireReader in(slice(part.begin, part.end));
    for (WireField field; !in.done();) {
      const char* begin = in.position();
      if (!in.field(field)) return malformed();
      if (!on_field(field, offset(begin), offset(in.position()))) return false;
    }
    return true;
  }

  // The same over the runs [first, last), which on_field may not add to but calls below it may (they restore them).
  template <typename F>
  bool each_in_runs(size_t first, size_t last, F on_field) {
    for (size_t i = first; i < last; ++i) {
      const Run run = runs_[i];
      if (!each_field({run.begin, run.end}, [&](const WireField& f, uint32_t, uint32_t) { return on_field(f); })) return false;
    }
    return true;
  }

  static bool packed_form(const FieldLayout& field, const WireField& wire) {
    return wire.wire == WireType::kBytes && is_scalar(field.type);
  }

  // Values of a field, packed or not: on_bits(bits).
  template <typename F>
  bool each_value(const FieldLayout& field, const WireField& wire, F on_bits) {
    const WireType type = wire_type(field.type);
    if (!packed_form(field, wire)) return on_bits(bits_of_wire(field.type, wire.value));
    WireReader in(wire.bytes);
    while (!in.done()) {
      uint64_t value = 0;
      uint32_t half = 0;
      const bool ok = type == WireType::kVarint ? in.varint(value) : type == WireType::kFixed64 ? in.fixed(value) : in.fixed(half);
      if (!ok) return malformed();
      if (!on_bits(bits_of_wire(field.type, value | half))) return false;
    }
    return true;
  }

  static bool closed_enum(const FieldLayout& field) { return field.type == FieldType::kEnum && field.enumeration->closed; }
  static bool in_enum(const FieldLayout& field, uint64_t bits) {
    return field.enumeration->has(static_cast<int32_t>(static_cast<uint32_t>(bits)));
  }

  // ---- noting the fields of one message ----

  // What of one field on the wire is this layout's, and what is unknown to it (a closed enum's packed run can be both).
  struct Fate {
    bool known = false, unknown = false;
  };

  bool fate(const MessageLayout& layout, const FieldLayout* field, const WireField& wire, Fate& out) {
    const bool packed = field != nullptr && field->cardinality == Cardinality::kRepeated && packed_form(*field, wire);
    out.known = field != nullptr && (packed || wire.wire == wire_type(field->type));
    out.unknown = !out.known;
    if (!out.known) return true;
    if (closed_enum(*field)) {
      out.known = false;
      return each_value(*field, wire, [&](uint64_t bits) {
        if (in_enum(*field, bits)) out.known = true;
        else out.unknown = !layout.map_entry;  // an entry is here because a later value of it is known
        return true;
      });
    }
    if (field->cardinality == Cardinality::kMap && closed_enum(field->message->fields[1])) {
      if (!entry_in_enum(field->message->fields[1], wire.bytes, out.known)) return false;
      out.unknown = !out.known;
    }
    return true;
  }

  // As protobuf does, a map entry whose value its closed enum lacks is unknown as a whole.
  bool entry_in_enum(const FieldLayout& value, std::string_view entry, bool& known) {
    known = true;
    return each_field(chunk(entry), [&](const WireField& f, uint32_t, uint32_t) {
      if (f.number == 2 && f.wire == WireType::kVarint) known = in_enum(value, bits_of_wire(value.type, f.value));
      return true;
    });
  }

  bool note(uint32_t key, uint32_t begin, uint32_t end, size_t first) {
    if (runs_.size() > first && runs_.back().key == key && runs_.back().end == begin) {
      runs_.back().end = end;
      return true;
    }
    runs_.push_back({key, begin, end});
    return room_for_notes(runs_.size());
  }

  bool scan(const MessageLayout& layout, Chunk part, size_t first_run, size_t first_choice) {
    return each_field(part, [&](const WireField& wire, uint32_t begin, uint32_t end) {
      const FieldLayout* field = layout.by_number(wire.number);
      Fate fate;
      if (!this->fate(layout, field, wire, fate)) return fail_in(*field);
      if (fate.unknown && !note(0, begin, end, first_run)) return false;
      if (!fate.known) return true;
      if (!note(field->index + 1, begin, end, first_run)) return false;
      if (field->oneof < 0) return true;
      Choice& choice = choices_[first_choice + static_cast<size_t>(field->oneof)];
      if (choice.key != field->index + 1) choice = {field->index + 1, begin};
      return true;
    });
  }

  // ---- laying out ----

  // Lays out the message that chunks_[first_chunk, +chunk_count) make up, whose struct stands at `at`.
  bool message(const MessageLayout& layout, size_t first_chunk, size_t chunk_count, uint32_t at, uint32_t depth) {
    const size_t first_run = runs_.size(), first_choice = choices_.size();
    choices_.resize(first_choice + layout.oneofs.size());
    for (size_t i = 0; i < chunk_count; ++i) {
      if (!scan(layout, chunks_[first_chunk + i], first_run, first_choice)) return false;
    }
    const auto by_field = [](const Run& a, const Run& b) { return a.key != b.key ? a.key < b.key : a.begin < b.begin; };
    const auto begin = runs_.begin() + static_cast<ptrdiff_t>(first_run);
    if (!std::is_sorted(begin, runs_.end(), by_field)) std::sort(begin, runs_.end(), by_field);
    const bool ok = lay_out(layout, first_run, runs_.size(), first_choice, at, depth) &&
                    (!layout.map_entry || complete_entry(layout, at, first_run));
    runs_.resize(first_run);
    choices_.resize(first_choice);
    return ok;
  }

  bool lay_out(const MessageLayout& layout, size_t first, size_t last, size_t first_choice, uint32_t at, uint32_t depth) {
    while (first < last) {
      const uint32_t key = runs_[first].key;
      size_t next = first;
      while (next < last && runs_[next].key == key) ++next;
      if (key == 0) {
        if (!unknown(layout, first, next, at)) return false;
      } else {
        const FieldLayout& field = layout.fields[key - 1];
        if (chosen(field, key, first_choice, first, next) && !this->field(field, first, next, at, depth)) return fail_in(field);
      }
      first = next;
    }
    return true;
  }

  // False: another member of the oneof came later. Moves `first` past runs that a switch of members has cleared.
  bool chosen(const FieldLayout& field, uint32_t key, size_t first_choice, size_t& first, size_t last) const {
    if (field.oneof < 0) return true;
    const Choice choice = choices_[first_choice + static_cast<size_t>(field.oneof)];
    if (choice.key != key) return false;
    while (first < last && runs_[first].begin < choice.since) ++first;
    return true;
  }

  // What a map entry has even where its bytes leave it out.
  bool complete_entry(const MessageLayout& entry, uint32_t at, size_t first_run) {
    const FieldLayout& value = entry.fields[1];
    const bool given = runs_.size() > first_run && runs_.back().key == value.index + 1;
    if (given) return true;
    if (closed_enum(value)) builder_.set(at + value.offset, static_cast<uint32_t>(value.default_bits));
    if (value.type != FieldType::kMessage) return true;
    const auto child = append(value.message->struct_bytes);
    if (!child) return false;
    builder_.set(at + value.offset, Ref{*child, value.message->struct_bytes});
    return true;
  }

  bool unknown(const MessageLayout& layout, size_t first, size_t last, uint32_t at) {
    std::vector<std::byte> bytes;
    WireWriter writer(bytes);
    for (size_t i = first; i < last; ++i) {
      const bool ok = each_field({runs_[i].begin, runs_[i].end}, [&](const WireField& wire, uint32_t begin, uint32_t end) {
        const FieldLayout* field = layout.by_number(wire.number);
        const bool split = field && field->cardinality == Cardinality::kRepeated && closed_enum(*field) && packed_form(*field, wire);
        if (!split) return writer.raw(slice(begin, end)), true;
        return each_value(*field, wire, [&](uint64_t bits) {
          if (!in_enum(*field, bits)) writer.varint_field(field->number, wire_of_bits(field->type, bits));
          return true;
        });
      });
      if (!ok) return false;
    }
    return content(as_text(bytes), at);
  }

  // Appends content and puts its Ref at `at`.
  bool content(std::string_view bytes, uint32_t at) {
    if (bytes.empty()) return true;
    const auto start = append(bytes.size());
    if (!start) return false;
    std::memcpy(builder_.at(*start), bytes.data(), bytes.size());
    builder_.set(at, Ref{*start, static_cast<uint32_t>(bytes.size())});
    return true;
  }

  bool text(const FieldLayout& field, std::string_view bytes, uint32_t at) {
    if (field.validate_utf8 && !valid_utf8(bytes)) return fail("is not UTF-8");
    return content(bytes, at);
  }

  bool field(const FieldLayout& field, size_t first, size_t last, uint32_t at, uint32_t depth) {
    if (field.has_presence) builder_.set_present(at, field);
    const uint32_t slot = at + field.offset;
    if (field.type == FieldType::kMessage) {
      if (depth == 0) return fail("nests too deep");
      if (field.cardinality == Cardinality::kMap) return map(field, first, last, slot, depth - 1);
      if (field.cardinality == Cardinality::kSingular) return merged(field, first, last, slot, depth - 1);
      return messages(field, first, last, slot, depth - 1);
    }
    if (field.cardinality == Cardinality::kRepeated) {
      return is_scalar(field.type) ? scalars(field, first, last, slot) : texts(field, first, last, slot);
    }
    WireField wire;
    if (!each_in_runs(last - 1, last, [&](const WireField& f) { return wire = f, true; })) return false;
    if (!is_scalar(field.type)) return text(field, wire.bytes, slot);
    set_scalar(field, slot, bits_of_wire(field.type, wire.value));
    return true;
  }

  void set_scalar(const FieldLayout& field, uint32_t at, uint64_t bits) { std::memcpy(builder_.at(at), &bits, field.element_bytes); }

  // An array of `count` elements, its Ref at `slot`.
  std::optional<uint32_t> array(const FieldLayout& field, uint64_t count, uint32_t slot) {
    if (count > UINT32_MAX) return append(UINT64_MAX);  // over any limit
    const auto at = append(count * field.element_bytes);
    if (at) builder_.set(slot, Ref{*at, static_cast<uint32_t>(count)});
    return at;
  }

  bool scalars(const FieldLayout& field, size_t first, size_t last, uint32_t slot) {
    const bool filter = closed_enum(field);
    const auto each = [&](auto on_bits) {
      return each_in_runs(first, last, [&](const WireField& f) {
        return each_value(field, f, [&](uint64_t bits) {
          if (!filter || in_enum(field, bits)) on_bits(bits);
          return true;
        });
      });
    };
    uint64_t count = 0;
    if (!each([&](uint64_t) { ++count; })) return false;
    if (count == 0) return true;  // packed runs of nothing
    const auto start = array(field, count, slot);
    if (!start) return false;
    uint32_t at = *start;
    return each([&](uint64_t bits) {
      set_scalar(field, at, bits);
      at += field.element_bytes;
    });
  }

  bool count_fields(size_t first, size_t last, uint64_t& count) {
    return each_in_runs(first, last, [&](const WireField&) { return ++count, true; });
  }

  bool texts(const FieldLayout& field, size_t first, size_t last, uint32_t slot) {
    uint64_t count = 0;
    if (!count_fields(first, last, count)) return false;
    const auto start = array(field, count, slot);
    if (!start) return false;
    uint32_t at = *start;
    return each_in_runs(first, last, [&](const WireField& f) {
      const uint32_t element = at;
      at += sizeof(Ref);
      return text(field, f.bytes, element);
    });
  }

  bool merged(const FieldLayout& field, size_t first, size_t last, uint32_t slot, uint32_t depth) {
    const size_t first_chunk = chunks_.size();
    const bool noted = each_in_runs(first, last, [&](const WireField& f) {
      chunks_.push_back(chunk(f.bytes));
      return room_for_notes(chunks_.size());
    });
    if (!noted) return false;
    const auto at = append(field.message->struct_bytes);
    if (!at) return false;
    builder_.set(slot, Ref{*at, field.message->struct_bytes});
    const bool ok = message(*field.message, first_chunk, chunks_.size() - first_chunk, *at, depth);
    chunks_.resize(first_chunk);
    return ok;
  }

  // The message of one chunk.
  bool element(const FieldLayout& field, Chunk part, uint32_t at, uint32_t depth) {
    const size_t first_chunk = chunks_.size();
    chunks_.push_back(part);
    const bool ok = message(*field.message, first_chunk, 1, at, depth);
    chunks_.resize(first_chunk);
    return ok;
  }

  bool messages(const FieldLayout& field, size_t first, size_t last, uint32_t slot, uint32_t depth) {
    uint64_t count = 0;
    if (!count_fields(first, last, count)) return false;
    const auto start = array(field, count, slot);
    if (!start) return false;
    uint32_t at = *start;
    return each_in_runs(first, last, [&](const WireField& f) {
      const uint32_t struct_at = at;
      at += field.element_bytes;
      return element(field, chunk(f.bytes), struct_at, depth);
    });
  }

  bool map(const FieldLayout& field, size_t first, size_t last, uint32_t slot, uint32_t depth) {
    uint64_t count = 0;
    if (!count_fields(first, last, count)) return false;
    // Entries that will be replaced count too: noting one takes about as much memory as laying it out.
    if (count * field.element_bytes > bytes_max_) return over_limit("its entries, replaced ones too, take more than");
    std::vector<MapItem> items;
    items.reserve(count);
    const bool read = each_in_runs(first, last, [&](const WireField& f) {
      items.push_back({{}, chunk(f.bytes)});
      return wire_key(field.message->fields[0], items.back());
    });
    if (!read) return false;
    const auto by_key = [](const MapItem& a, const MapItem& b) { return a.key < b.key; };
    std::stable_sort(items.begin(), items.end(), by_key);
    size_t kept = 0;  // of equal keys the last
    for (size_t i = 0; i < items.size(); ++i) {
      if (i + 1 == items.size() || items[i].key < items[i + 1].key) items[kept++] = items[i];
    }
    const auto at = array(field, kept, slot);
    if (!at) return false;
    for (size_t i = 0; i < kept; ++i) {
      if (!element(field, items[i].entry, static_cast<uint32_t>(*at + i * field.element_bytes), depth)) return false;
    }
    return true;
  }

  bool wire_key(const FieldLayout& key, MapItem& item) {
    if (key.type != FieldType::kString) item.key = integer_key(key.type, 0);
    return each_field(item.entry, [&](const WireField& f, uint32_t, uint32_t) {
      if (f.number != 1 || f.wire != wire_type(key.type)) return true;
      if (key.type == FieldType::kString) item.key.text = f.bytes;
      else item.key = integer_key(key.type, bits_of_wire(key.type, f.value));
      return true;
    });
  }

  std::string_view input_;
  ImageBuilder builder_;
  uint64_t bytes_max_;
  std::vector<Chunk> chunks_;     // stacks, shared by all levels
  std::vector<Run> runs_;
  std::vector<Choice> choices_;
  StatusCode code_ = StatusCode::kInvalidArgument;
  std::string error_, path_;
};

Status encode(const MessageLayout& layout, std::span<const std::byte> bytes, const Limits& limits, std::vector<std::byte>& out) {
  MRPC_ASSERT(out.empty());
  if (bytes.size() > UINT32_MAX) {
    return resource_exhausted("message " + layout.full_name + ": more than 4 GiB of protobuf bytes; send less at a time");
  }
  return Encoder(as_text(bytes), limits, out).run(layout, limits.depth_max);
}

}  // namespace

Status from_protobuf(const MessageLayout& layout, std::span<const std::byte> bytes, const Limits& limits, std::vector<std::byte>& out) {
  if (bytes.size() > limits.message_bytes_max) {
    return resource_exhausted("message " + layout.full_name + ": its protobuf bytes are over the limit of " +
                              std::to_string(limits.message_bytes_max) + "; send less at a time, or raise message_bytes_max");
  }
  return encode(layout, bytes, limits, out);
}

Status relay(const MessageLayout& from, std::span<const std::byte> image, const MessageLayout& to, const Limits& limits,
             std::vector<std::byte>& out) {
  if (&from == &to) {
    // Unknown fields may be known ones in hiding: only without any is the image its own copy.
    const auto verified = verify(from, image, {}, limits);
    if (verified && !verified->has_unknown) {
      out.assign(image.begin(), image.end());
      return ok_status();
    }
  }
  std::vector<std::byte> bytes;
  to_protobuf(from, image, bytes);
  return encode(to, bytes, limits, out);
}

}  // namespace mrpc::message
