// Fields by dotted name, for policies: "user.address.city". Resolved once when a policy is bound, read once per message.
#pragma once

#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "message/image.h"

namespace mrpc::message {

// From the root's field to the leaf; all but the leaf are singular messages.
struct FieldPath {
  std::vector<const FieldLayout*> fields;

  const FieldLayout& leaf() const { return *fields.back(); }
};

// Integers widened to 64 bits, float to double, enums to int64_t. Strings and bytes point into the image, or, for a default,
// into the layout.
using FieldValue = std::variant<int64_t, uint64_t, double, bool, std::string_view>;

// Errors: kInvalidArgument, with what the message at that point does have.
Result<FieldPath> resolve_path(const MessageLayout& layout, std::string_view path);

// The value at the end of the path in a verified image; the default where it, or a message on the way, is absent. Nullopt when
// the leaf is a message, repeated or a map. `root` must be of the layout that the path was resolved in.
std::optional<FieldValue> read_path(MessageView root, const FieldPath& path);

}  // namespace mrpc::message
