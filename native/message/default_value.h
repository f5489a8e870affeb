// FieldDescriptorProto.default_value: text, in a form that depends on the field's type.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "message/layout.h"

namespace mrpc::message {

// Fills default_bits or default_text of `field`, whose type and enumeration are set. Without a text: what the type has by itself,
// which for a closed enum is its first value. False when the text is no value of the type.
bool set_default(FieldLayout& field, std::optional<std::string_view> text);

}  // namespace mrpc::message
