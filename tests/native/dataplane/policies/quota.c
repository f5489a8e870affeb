/* At most `value` calls for each value of the scope that its state has. state: SCOPE: left (initial "value") */
#include "probe.h"

EXPORT int32_t mrpc_on_request(mrpc_frame* frame) {
  if (*cell(frame, 0, 0) <= 0) return deny(frame, 8, "nothing left");
  *cell(frame, 0, 0) -= 1;
  return MRPC_FORWARD;
}
