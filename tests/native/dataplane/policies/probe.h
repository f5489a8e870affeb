/* What the compiled policies of these tests have in common: a probe that counts what it is told, and does what its configuration says. */
#include "dataplane/policy/abi.h"

const uint32_t mrpc_policy_abi __attribute__((visibility("default"))) = MRPC_POLICY_ABI;
#define EXPORT __attribute__((visibility("default")))

typedef struct config {
  int64_t mode, value;
  mrpc_text text;
} config;

static inline const config* config_of(const mrpc_frame* frame) { return (const config*)frame->config; }
static inline int64_t* cell(mrpc_frame* frame, int row, int field) { return (int64_t*)(frame->rows[row] + frame->cells[field]); }

static inline int32_t deny(mrpc_frame* frame, int32_t code, const char* text) {
  mrpc_verdict* verdict = frame->verdict;
  verdict->code = code;
  for (verdict->text_size = 0; text[verdict->text_size] != 0; ++verdict->text_size) verdict->text[verdict->text_size] = text[verdict->text_size];
  return MRPC_DENY;
}

static inline int32_t fault(mrpc_frame* frame, int32_t code, int32_t line) {
  frame->verdict->code = code;
  frame->verdict->line = line;
  return MRPC_FAULT;
}
