/* Between a compiled policy program and the daemon. Plain C without a library: the policy compiler puts this file in front of what it
 * generates, and the daemon includes it as it is.
 *
 * A program is a shared object without a single undefined symbol. It exports some of
 *     int32_t mrpc_on_request(mrpc_frame*);   the request's first message, and each later one of a stream
 *     int32_t mrpc_on_reply(mrpc_frame*);     each message of the reply
 *     int32_t mrpc_on_end(mrpc_frame*);       exactly once for each call that on_request forwarded, however it ended
 *     int32_t mrpc_upgrade(mrpc_frame*);      once for each row of state that another version of the program made
 *     const uint32_t mrpc_policy_abi;         == MRPC_POLICY_ABI
 * and returns a verdict's kind, whose particulars it wrote to frame->verdict.
 *
 * What must hold. The daemon gives it verified images in private memory, rows that nobody else writes meanwhile, and host functions that
 * return in bounded time. The program stays in the memory it was given: every reference of an image is checked against
 * image_bytes, every index against its count; integer overflow, division by zero, a bad index and used-up fuel return MRPC_FAULT with
 * the source's line. It calls nothing but frame->host, keeps nothing between hooks but what is in its rows, and takes a
 * bounded number of steps. All offsets of message fields are constants in its code: it fits one pair of message layouts.
 */
#ifndef MRPC_POLICY_ABI_H
#define MRPC_POLICY_ABI_H

#include <stdint.h>

#define MRPC_POLICY_ABI 1u
#define MRPC_TEXT_MAX 256u /* of a verdict: a denial's reason */

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mrpc_text { /* UTF-8 or any bytes; no terminator; valid until the hook returns */
  const char* data;
  uint64_t size;
} mrpc_text;

typedef struct mrpc_list { /* configuration: int64_t[] or mrpc_text[], ascending and each once, so that `in` is a binary search */
  const void* items;
  uint64_t count;
} mrpc_list;

enum {
  MRPC_FORWARD = 0,
  MRPC_DENY = 1,  /* code, text */
  MRPC_REPLY = 2, /* with what host->answer found: only after it returned MRPC_ANSWER_HIT */
  MRPC_DELAY = 3, /* value: nanoseconds; the call then goes on behind this policy */
  MRPC_ROUTE = 4, /* to an endpoint of app `text` if text_size > 0, else to the one that `value` hashes to; then goes on */
  MRPC_HOLD = 5,  /* until the call that host->answer named has stored or ended; then this hook runs again */
  MRPC_FAULT = 6, /* code: MRPC_FAULT_*, line */
};

enum {
  MRPC_FAULT_DIVISION = 1,
  MRPC_FAULT_OVERFLOW = 2,
  MRPC_FAULT_INDEX = 3,
  MRPC_FAULT_FUEL = 4,
  MRPC_FAULT_BOUNDS = 5, /* an image that the verifier should have refused */
  MRPC_FAULT_TEXT = 6,   /* a text longer than the scratch memory */
  MRPC_FAULT_HOST = 7,   /* a host function refused: a key, value or field that cannot be set */
};

typedef struct mrpc_verdict {
  int32_t code; /* DENY: a gRPC status code; FAULT: which */
  int32_t line;
  uint64_t value;
  uint32_t text_size;
  char text[MRPC_TEXT_MAX];
} mrpc_verdict;

typedef struct mrpc_call {
  uint64_t now_ns;     /* CLOCK_MONOTONIC, of this turn */
  uint64_t unix_ns;    /* wall clock, for what other machines dated */
  uint64_t started_ns; /* when the call entered */
  uint64_t deadline_ns; /* 0: none */
  uint64_t message_bytes; /* of this message, as its image; 0 in on_end */
  uint32_t first, last;   /* 1 for the first, the last message of its direction */
  int32_t status;         /* on_reply, on_end: gRPC code; on_reply of a stream's message but the last: 0 */
  uint32_t denied;        /* on_end: 1 when a policy behind this one denied the call */
  mrpc_text client, server, service, method, tenant;
} mrpc_call;

typedef struct mrpc_value { /* of a field to be set: int64 (bool, enum and unsigned kinds too), float64, or text */
  int64_t integer;
  double number;
  mrpc_text text;
} mrpc_value;

typedef struct mrpc_token { /* a JSON web token's verified content */
  int32_t valid;            /* signature, algorithm, key, nbf and exp (leeway_ns) hold, and audience and issuer where asked for */
  mrpc_text problem;        /* when not valid: what a caller may read */
  mrpc_text subject, issuer;
  int64_t expires_unix_s;   /* 0: never */
} mrpc_token;

enum { MRPC_ANSWER_HIT = 1, MRPC_ANSWER_LEAD = 2, MRPC_ANSWER_WAIT = 3 };

struct mrpc_frame;
typedef struct mrpc_host {
  /* 1 when the call has it; `value` is empty else. Of several values of one key, the first. */
  int32_t (*metadata)(struct mrpc_frame*, mrpc_text key, mrpc_text* value);
  /* 0 done (an empty value removes it), else MRPC_FAULT_HOST: reserved key, over the limit. On the request, or on the reply's trailer. */
  int32_t (*set_metadata)(struct mrpc_frame*, mrpc_text key, mrpc_text value);
  /* `field`: index into the program's writes. 0 done, else MRPC_FAULT_HOST. Takes effect behind this policy. */
  int32_t (*set_field)(struct mrpc_frame*, uint32_t field, const mrpc_value* value);
  uint64_t (*random)(struct mrpc_frame*);
  void (*log)(struct mrpc_frame*, mrpc_text text); /* rate limited and bounded by the daemon */
  /* Of stored replies (`store`: index into the program's stores) the one of `key`: MRPC_ANSWER_*. */
  int32_t (*answer)(struct mrpc_frame*, uint32_t store, mrpc_text key);
  /* In on_reply: keeps this reply under the key that this call asked for and leads. */
  void (*store)(struct mrpc_frame*, uint32_t store, uint64_t ttl_ns, uint64_t bytes_max);
  /* Takes `want` of a budget that all daemons share (`lease`: index into the program's leases): 1 granted, 0 spent. */
  int32_t (*take)(struct mrpc_frame*, uint32_t lease, double want);
  /* `keys`: offset of the `keys` field in the configuration. Empty audience, issuer: not asked for. */
  void (*token)(struct mrpc_frame*, uint32_t keys, mrpc_text text, mrpc_text audience, mrpc_text issuer, uint64_t leeway_ns, mrpc_token* out);
} mrpc_host;

typedef struct mrpc_frame {
  const mrpc_call* call;
  const uint8_t* image; /* the message, root struct at 0; null in on_end and upgrade */
  uint64_t image_bytes;
  const uint8_t* config; /* as the program's spec lays it out: int64, double, bool as int64; mrpc_text; mrpc_list */
  uint8_t* const* rows;  /* of each scope of the program's state, in the spec's order; cells of 8 bytes: int64 or double */
  const uint16_t* cells; /* of each state field, counted through all scopes in the spec's order: its byte offset in its row */
  const uint16_t* old_cells; /* upgrade: the same of the fields that the version before had, in the order of the spec's `old` */
  const mrpc_host* host;
  void* self;            /* the host's own; not for the program */
  mrpc_verdict* verdict;
} mrpc_frame;

typedef int32_t (*mrpc_hook)(mrpc_frame*);

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif
