/* state: global: requests, replies, ends, denied_ends, last_status, in_flight; call: entered */
#include "probe.h"

enum { REQUESTS, REPLIES, ENDS, DENIED_ENDS, LAST_STATUS, IN_FLIGHT, ENTERED };
enum { FORWARD, DENY, DELAY, ROUTE_APP, ROUTE_HASH, FAULT, ANSWER, SET_METADATA, SET_FIELD, DENY_LATER, DENY_REPLY, DELAY_REPLY, LOG, NO_ANSWER, TENANT_LIMIT,
       SET_REPLY, NEED_METADATA };

static const mrpc_text kKey = {"x-probe", 7};

static int32_t on_request(mrpc_frame* frame) {
  const config* settings = config_of(frame);
  mrpc_verdict* verdict = frame->verdict;
  const mrpc_value value = {settings->value, 0, settings->text};
  mrpc_text found = {0, 0};
  switch (settings->mode) {
    case DENY: return deny(frame, 7, "as configured");
    case DELAY: verdict->value = (uint64_t)settings->value; return MRPC_DELAY;
    case ROUTE_APP:
      for (verdict->text_size = 0; verdict->text_size < settings->text.size; ++verdict->text_size)
        verdict->text[verdict->text_size] = settings->text.data[verdict->text_size];
      return MRPC_ROUTE;
    case ROUTE_HASH: verdict->value = (uint64_t)settings->value; return MRPC_ROUTE;
    case FAULT: return fault(frame, MRPC_FAULT_DIVISION, 42);
    case SET_METADATA: return frame->host->set_metadata(frame, kKey, settings->text) == 0 ? MRPC_FORWARD : fault(frame, MRPC_FAULT_HOST, 7);
    case SET_FIELD: return frame->host->set_field(frame, 0, &value) == 0 ? MRPC_FORWARD : fault(frame, MRPC_FAULT_HOST, 8);
    case DENY_LATER: return frame->call->first ? MRPC_FORWARD : deny(frame, 9, "not a second one");
    case NEED_METADATA:
      frame->host->metadata(frame, settings->text, &found);
      return found.size != 0 ? MRPC_FORWARD : deny(frame, 16, "no token");
    case LOG: frame->host->log(frame, settings->text); return MRPC_FORWARD;
    case ANSWER:
    case NO_ANSWER:
      switch (frame->host->answer(frame, 0, settings->text)) {
        case MRPC_ANSWER_HIT: return MRPC_REPLY;
        case MRPC_ANSWER_WAIT: return MRPC_HOLD;
        default: return MRPC_FORWARD;
      }
    default: return MRPC_FORWARD;
  }
}

EXPORT int32_t mrpc_on_request(mrpc_frame* frame) {
  const int32_t verdict = on_request(frame);
  *cell(frame, 0, REQUESTS) += 1;
  if (frame->call->first && (verdict == MRPC_FORWARD || verdict == MRPC_DELAY || verdict == MRPC_ROUTE)) {
    *cell(frame, 0, IN_FLIGHT) += 1;
    *cell(frame, 1, ENTERED) = (int64_t)frame->call->now_ns;
  }
  return verdict;
}

EXPORT int32_t mrpc_on_reply(mrpc_frame* frame) {
  const config* settings = config_of(frame);
  *cell(frame, 0, REPLIES) += 1;
  if (settings->mode == DENY_REPLY) return deny(frame, 10, "no such answer");
  if (settings->mode == DELAY_REPLY) {
    frame->verdict->value = (uint64_t)settings->value;
    return MRPC_DELAY;
  }
  if (settings->mode == ANSWER) frame->host->store(frame, 0, 1000000000, 1 << 20);
  if (settings->mode == SET_REPLY && frame->host->set_metadata(frame, kKey, settings->text) != 0) return fault(frame, MRPC_FAULT_HOST, 9);
  return MRPC_FORWARD;
}

EXPORT int32_t mrpc_on_end(mrpc_frame* frame) {
  *cell(frame, 0, ENDS) += 1;
  *cell(frame, 0, DENIED_ENDS) += frame->call->denied;
  *cell(frame, 0, LAST_STATUS) = frame->call->status;
  if (*cell(frame, 1, ENTERED) != 0) *cell(frame, 0, IN_FLIGHT) -= 1;
  return MRPC_FORWARD;
}
