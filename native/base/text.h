// Text that a stranger chose and that people will read in logs, tables and metrics.
#pragma once

#include <string>

namespace mrpc {

// Keeps printable ASCII; anything else becomes '?': no line of a log can be forged, and no reader trips over bytes that are no text.
inline std::string printable(std::string text) {
  for (char& c : text)
    if (c < 0x20 || c > 0x7e) c = '?';
  return text;
}

}  // namespace mrpc
