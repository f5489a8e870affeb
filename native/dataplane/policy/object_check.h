// What a shared object must be before it is loaded: x86-64, with no undefined symbol, nothing needed beside it, and nothing that runs by
// itself when it is mapped. It guards against a compiler's mistake; whoever can write the object's file can do anything anyway.
#pragma once

#include <string>

#include "base/result.h"

namespace mrpc::dataplane {

// Errors: kInvalidArgument with what is wrong with the file.
Status check_object(const std::string& path);

}  // namespace mrpc::dataplane
