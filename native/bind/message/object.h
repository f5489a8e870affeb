// How a protobuf message is held in Python.
//
// A message object is in one of two states. A *view* has `image` set and reads its fields from there; what has been read is
// kept in `slots`. An *own* message has no image: its slots are the truth. The first change of a view turns it, and everything
// that it is part of, into own (claim()), so "a view" always means "exactly these bytes", and whoever encodes
// or compares needs to look at only one of the two.
//
// Parts (sub-messages, containers) know what they are part of by a borrowed pointer, which the whole clears when it lets go
// of them: a tree without reference cycles, so none of these types takes part in garbage collection.
// An unset sub-message that was read is a *stub*: it sits in its slot, is not present, and becomes so when it is changed.
#pragma once

#include <Python.h>

#include <memory>
#include <span>
#include <vector>

#include "message/image.h"
#include "message/layout.h"

namespace mrpc::bind {

using message::Cardinality;
using message::FieldLayout;
using message::FieldType;
using message::MessageLayout;
using message::MessageView;

// An owned reference.
class Owned {
 public:
  Owned() = default;
  explicit Owned(PyObject* taken) : object_(taken) {}
  Owned(Owned&& other) noexcept : object_(other.release()) {}
  Owned& operator=(Owned&& other) noexcept {
    Py_XDECREF(std::exchange(object_, other.release()));
    return *this;
  }
  ~Owned() { Py_XDECREF(object_); }
  PyObject* get() const { return object_; }
  PyObject* release() { return std::exchange(object_, nullptr); }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  PyObject* object_ = nullptr;
};

// Received content longer than this is read in place (BytesView); shorter is copied into a `bytes`. Assigned
// buffers likewise are kept by reference only when longer.
constexpr Py_ssize_t kCopiedBytesMax = 4096;

struct ClassInfo;
struct SchemaObject;

struct FieldInfo {
  const FieldLayout* layout = nullptr;
  ClassInfo* info = nullptr;           // the message that it is a field of
  PyObject* name = nullptr;            // interned
  PyObject* default_value = nullptr;   // of a singular scalar
  ClassInfo* message = nullptr;        // of the sub-message, element, or map value; see message_class()
  const FieldLayout* key = nullptr;    // of a map
  FieldInfo* value = nullptr;          // of a map: its value, as a field of the entry

  bool is_map() const { return layout->cardinality == Cardinality::kMap; }
  bool is_repeated() const { return layout->cardinality == Cardinality::kRepeated; }
  bool is_message() const { return layout->type == FieldType::kMessage; }
  // Whether its slot holds a Node.
  bool is_node() const { return is_message() || layout->cardinality != Cardinality::kSingular; }
};

// One for each message class. Classes live as long as the process, as the generated modules that make them do.
struct ClassInfo {
  const MessageLayout* layout = nullptr;
  SchemaObject* schema = nullptr;
  PyTypeObject* type = nullptr;
  std::vector<FieldInfo> fields;
  std::vector<PyGetSetDef> getset;
  PyObject* index_by_name = nullptr;  // dict: str -> int

  FieldInfo* find(PyObject* name);  // nullptr when there is none; no exception
};

enum class NodeKind : uint8_t { kMessage, kNumeric, kList, kMap };

struct Node {
  PyObject_HEAD
  Node* parent;            // borrowed
  const FieldInfo* field;  // in the parent; nullptr for a free-standing message
  NodeKind kind;
  bool own;                // no image stands for it, and everything that it is part of is own
  bool stub;
};

struct MessageObject : Node {
  ClassInfo* info;
  const std::byte* image;
  const std::byte* fields;
  uint64_t image_bytes;    // of a view of a whole image; 0 for a part
  PyObject* owner;
  PyObject* unknown;       // bytes, of an own message
  PyObject* slots[];

  bool is_view() const { return image != nullptr; }
  MessageView view() const { return {image, fields, info->layout}; }
};

// The types of this module, made once by bind_messages().
struct Types {
  PyTypeObject *meta, *message, *schema, *numeric, *list, *map, *bytes_view;
};
extern Types types;

struct MessageClass {  // what the metaclass adds to a class
  PyHeapTypeObject heap;
  ClassInfo* info;
};

inline bool is_message_class(PyTypeObject* type) { return PyType_IsSubtype(Py_TYPE(type), types.meta); }
inline bool is_message(PyObject* object) { return Py_TYPE(Py_TYPE(object)) == types.meta; }
inline ClassInfo* class_info(PyTypeObject* type) { return reinterpret_cast<MessageClass*>(type)->info; }
inline MessageObject* as_message(PyObject* object) { return reinterpret_cast<MessageObject*>(object); }
inline Node* as_node(PyObject* object) { return reinterpret_cast<Node*>(object); }
inline PyObject* as_object(Node* node) { return reinterpret_cast<PyObject*>(node); }

// ---- whole and part (node.cpp) ------------------------------------------------------------------------

// To be called before every change. False with an exception set (out of memory, an image that is no valid UTF-8).
bool claim_slow(Node* node);
inline bool claim(Node* node) { return node->own || claim_slow(node); }
void adopt(Node* part, Node* whole, const FieldInfo* field);
void orphan(PyObject* part);  // of anything; does nothing for what is no Node
// An empty message that is part of `whole`. nullptr with ValueError set when that nests deeper than any peer accepts.
MessageObject* new_part(const FieldInfo& field, Node* whole);

// ---- messages (message.cpp) -----------------------------------------------------------------------------

MessageObject* new_message(ClassInfo* info);
MessageObject* new_view(ClassInfo* info, const std::byte* image, const std::byte* fields, PyObject* owner);
// The class of a field's sub-messages, elements or map values; nullptr with an exception set when no module made it.
ClassInfo* message_class(const FieldInfo& field);

void drop_slot(MessageObject* self, uint32_t index);
void clear_message(MessageObject* self);  // as just made; it stays part of what it is part of
bool has_field(const MessageObject* self, const FieldInfo& field);  // for repeated fields: not empty

// New references. read_field makes stubs and empty containers, and returns defaults.
PyObject* read_field(MessageObject* self, const FieldInfo& field);
bool set_scalar(MessageObject* self, const FieldInfo& field, PyObject* value);
bool init_field(MessageObject* self, const FieldInfo& field, PyObject* value);
bool init_fields(MessageObject* self, PyObject* kwargs);
void clear_oneof(MessageObject* self, int32_t oneof, const FieldInfo* except);
// The child that a singular message field holds, present from now on. Borrowed.
MessageObject* mutable_child(MessageObject* self, const FieldInfo& field);
// Reads every field that the image has, then lets go of it.
bool detach(MessageObject* self);

// ---- merging (merge.cpp) ---------------------------------------------------------------------------------

bool merge(MessageObject* into, MessageObject* from);
bool copy_into(MessageObject* into, MessageObject* from);  // `into` has been claimed
// From a message of the same class, a dict, or (by way of its bytes) google.protobuf's message of the same name.
bool assign_message(MessageObject* into, PyObject* value);
bool merge_bytes(MessageObject* into, PyObject* bytes, bool replace);
Owned image_of(PyObject* message);  // bytes

// ---- containers --------------------------------------------------------------------------------------------

// An empty container, or the view of one when the parent is a view that has it.
PyObject* new_numeric(MessageObject* parent, const FieldInfo& field);
PyObject* new_list(MessageObject* parent, const FieldInfo& field);
PyObject* new_map(MessageObject* parent, const FieldInfo& field);
bool numeric_extend(PyObject* self, PyObject* values);
bool list_extend(PyObject* self, PyObject* values);
bool map_update(PyObject* self, PyObject* values);
Py_ssize_t container_size(PyObject* self);

// An immutable bytes-like object for content in memory that `owner` keeps.
PyObject* new_bytes(const std::byte* data, Py_ssize_t length, PyObject* owner);
// For a bytes field: `bytes`, or a BytesView of a large buffer. nullptr with TypeError set.
PyObject* check_bytes(PyObject* value);
std::span<const std::byte> bytes_of(PyObject* value);  // of what check_bytes returned

bool ready(PyTypeObject*& slot, PyObject* module, PyType_Spec* spec, PyObject* base = nullptr);

}  // namespace mrpc::bind
