// Changes that policies make to a message in private memory.
#pragma once

#include "dataplane/judged_call.h"

namespace mrpc::dataplane {

// Sets fields of the message, whose image must be whole. Errors: kInvalidArgument for a value that the field cannot hold.
Status edit_fields(Message& message, const message::MessageLayout& layout, const std::vector<FieldEdit>& edits, const message::Limits& limits);

// Replaces, adds or (empty value) removes metadata. Segments and their hold stay.
void edit_metadata(Message& message, const std::vector<std::pair<std::string, std::string>>& edits);

// Whether a policy may set `key`: lower case, not the mesh's own.
bool is_settable_key(std::string_view key);

}  // namespace mrpc::dataplane
