#pragma once

#include "bind/message/object.h"

namespace mrpc::bind {

// Both of the same layout.
bool equal_views(const MessageView& a, const MessageView& b);

}  // namespace mrpc::bind
