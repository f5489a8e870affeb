/* Numbers calls, and tells each its number. state: SCOPE: given; ANOTHER SCOPE: given_too */
#include "probe.h"

EXPORT int32_t mrpc_on_request(mrpc_frame* frame) {
  char digits[20];
  uint32_t at = sizeof digits;
  int64_t number = *cell(frame, 0, 0) += 1;
  *cell(frame, 1, 1) += 1;
  for (; number != 0; number /= 10) digits[--at] = (char)('0' + number % 10);
  const mrpc_text key = {"x-ticket", 8}, text = {digits + at, sizeof digits - at};
  return frame->host->set_metadata(frame, key, text) == 0 ? MRPC_FORWARD : fault(frame, MRPC_FAULT_HOST, 1);
}
