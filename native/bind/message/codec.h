// Python message objects to and from message images, for the RPC binding.
//
// Sending: plan_encode() walks the message once and tells the exact sizes; the caller allocates; encode() writes. Both
// run with the GIL held and neither runs Python code, so nothing can change the message from the one to the other.
// Receiving: decode() makes an object that reads its fields from the image when they are asked for.
#pragma once

#include <Python.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "message/layout.h"

namespace mrpc::bind {

// Content that stays where it is: one segment of the image.
struct BlobRef {
  const std::byte* data;
  uint64_t length;
  PyObject* owner;  // a reference that the plan holds; whoever needs the bytes after the plan is gone takes its own
};

struct EncodePlan {
  uint64_t inline_bytes = 0;  // encode() writes exactly this many
  uint64_t image_bytes = 0;   // inline part and segments, each segment at the next multiple of kBlobAlign
  std::vector<BlobRef> blobs; // in canonical order

  EncodePlan() = default;
  EncodePlan(EncodePlan&&) = default;
  EncodePlan& operator=(EncodePlan&&) = delete;
  ~EncodePlan() {  // with the GIL held
    for (const BlobRef& blob : blobs) Py_DECREF(blob.owner);
  }
};

// "Does this range lie wholly in shared heap memory?" Refers to a callable that outlives the call; empty: nothing does.
class IsHeapBlob {
 public:
  IsHeapBlob() = default;
  template <typename F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, IsHeapBlob>)
  IsHeapBlob(const F& f)
      : context_(&f), call_([](const void* context, const std::byte* data, uint64_t length) -> bool {
          return (*static_cast<const F*>(context))(data, length);
        }) {}
  bool operator()(const std::byte* data, uint64_t length) const { return call_ && call_(context_, data, length); }

 private:
  const void* context_ = nullptr;
  bool (*call_)(const void*, const std::byte*, uint64_t) = nullptr;
};

// Buffers that are shorter than this are always written inline: a segment costs more than the copy.
constexpr uint64_t kBlobBytesMin = 4096;

// False with a Python exception set: not a message (TypeError), over 4 GiB (ValueError), out of memory.
bool plan_encode(PyObject* message, EncodePlan& plan, IsHeapBlob is_heap_blob = {});

// Writes plan.inline_bytes to `dst` (a multiple of 8), which need not be zeroed.
void encode(PyObject* message, const EncodePlan& plan, std::byte* dst);

// A new reference to a `cls` (made by Schema.message_class) that reads `image`, which must be verified and whole, and not change
// while `owner` lives. Takes a reference of its own to `owner`. nullptr with an exception set when out of memory.
PyObject* decode(PyTypeObject* cls, std::span<const std::byte> image, PyObject* owner);

// nullptr (no exception set) when `object` is no message class.
const message::MessageLayout* layout_of(PyObject* object);

// Of a Python `Schema` object; nullptr with TypeError set when it is none.
std::shared_ptr<const message::Schema> schema_of(PyObject* object);

}  // namespace mrpc::bind
