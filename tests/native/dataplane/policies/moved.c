/* A later version of the probe: another order of fields, one more, and an upgrade. state: global: doubled, in_flight, requests */
#include "probe.h"

enum { DOUBLED, IN_FLIGHT, REQUESTS };

EXPORT int32_t mrpc_on_request(mrpc_frame* frame) {
  *cell(frame, 0, REQUESTS) += 1;
  *cell(frame, 0, IN_FLIGHT) += 1;
  return MRPC_FORWARD;
}

EXPORT int32_t mrpc_on_end(mrpc_frame* frame) {
  *cell(frame, 0, IN_FLIGHT) -= 1;
  return MRPC_FORWARD;
}

EXPORT int32_t mrpc_upgrade(mrpc_frame* frame) {
  *cell(frame, 0, DOUBLED) = 2 * *(int64_t*)(frame->rows[0] + frame->old_cells[0]);
  return MRPC_FORWARD;
}
