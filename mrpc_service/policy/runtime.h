/* What generated code is made of. Nothing here calls out; each function that can fail returns 0 or MRPC_FAULT_*. */

#define MP_EXPORT __attribute__((visibility("default")))
#define MP_FN __attribute__((unused)) static inline
#define MP_COLD __attribute__((unused, noinline, cold)) static
#define MP_FUEL 100000
#define MP_TEXT_MAX 2048u    /* of one text that a program makes */
#define MP_ARENA_MAX 16384u  /* of all that one run of a hook makes */

/* GCC and clang may call these whatever they are told. */
#define MP_LIBC __attribute__((visibility("hidden"), used))
MP_LIBC void* memcpy(void* restrict to, const void* restrict from, __SIZE_TYPE__ n) {
  for (__SIZE_TYPE__ i = 0; i < n; i++) ((volatile char*)to)[i] = ((const char*)from)[i];
  return to;
}
MP_LIBC void* memset(void* to, int value, __SIZE_TYPE__ n) {
  for (__SIZE_TYPE__ i = 0; i < n; i++) ((volatile char*)to)[i] = (char)value;
  return to;
}

typedef struct mp_x { /* one run of a hook */
  mrpc_frame* f;
  int64_t fuel;
  uint64_t used;
#ifdef MP_MAKES_TEXT
  char arena[MP_ARENA_MAX];
#endif
} mp_x;

typedef struct mp_array { /* a repeated field: in bounds */
  const uint8_t* items;
  uint64_t count;
} mp_array;

#define MP_TEXT(literal, n) ((mrpc_text){literal, n})
#define MP_TRY(call, line)                                               \
  do {                                                                   \
    const int mp_code = (call);                                          \
    if (__builtin_expect(mp_code != 0, 0)) return mp_fault(x, mp_code, line); \
  } while (0)

MP_COLD int32_t mp_fault(mp_x* x, int code, int line) {
  x->f->verdict->code = code;
  x->f->verdict->line = line;
  x->f->verdict->text_size = 0;
  return MRPC_FAULT;
}

MP_FN int mp_charge(mp_x* x, uint64_t steps) {
  if (steps > (uint64_t)x->fuel) return MRPC_FAULT_FUEL;
  x->fuel -= (int64_t)steps;
  return 0;
}

/* ---- integers ---- */
MP_FN int mp_add(int64_t a, int64_t b, int64_t* r) { return __builtin_add_overflow(a, b, r) ? MRPC_FAULT_OVERFLOW : 0; }
MP_FN int mp_sub(int64_t a, int64_t b, int64_t* r) { return __builtin_sub_overflow(a, b, r) ? MRPC_FAULT_OVERFLOW : 0; }
MP_FN int mp_mul(int64_t a, int64_t b, int64_t* r) { return __builtin_mul_overflow(a, b, r) ? MRPC_FAULT_OVERFLOW : 0; }
MP_FN int mp_floordiv(int64_t a, int64_t b, int64_t* r) {
  if (b == 0) return MRPC_FAULT_DIVISION;
  if (b == -1) return mp_sub(0, a, r);
  *r = a / b - (a % b != 0 && (a < 0) != (b < 0));
  return 0;
}
MP_FN int mp_mod(int64_t a, int64_t b, int64_t* r) {
  if (b == 0) return MRPC_FAULT_DIVISION;
  const int64_t m = b == -1 ? 0 : a % b;
  *r = m != 0 && (m < 0) != (b < 0) ? m + b : m;
  return 0;
}

/* ---- floats: as Python computes them ---- */
MP_FN uint64_t mp_bits(double v) { uint64_t u; __builtin_memcpy(&u, &v, 8); return u; }
MP_FN double mp_double(uint64_t u) { double v; __builtin_memcpy(&v, &u, 8); return v; }
MP_FN int mp_is_nan(double v) { return v != v; }
MP_FN int mp_is_finite(double v) { return (mp_bits(v) >> 52 & 0x7ff) != 0x7ff; }
MP_FN double mp_floor(double v) {
  if (!(v > -4503599627370496.0 && v < 4503599627370496.0)) return v;
  const double whole = (double)(int64_t)v;
  return whole > v ? whole - 1.0 : (whole == 0.0 ? __builtin_copysign(0.0, v) : whole);
}
/* Exact, by subtraction of shifted mantissas: at most 2,100 steps. */
MP_COLD double mp_remainder(double a, double b) {
  if (!mp_is_finite(a) || mp_is_nan(b)) return mp_double(0x7ff8000000000000ull);
  if (!mp_is_finite(b)) return a;
  uint64_t ua = mp_bits(a) & ~(1ull << 63), ub = mp_bits(b) & ~(1ull << 63);
  const uint64_t sign = mp_bits(a) & 1ull << 63;
  if (ua < ub) return a;
  int ea = (int)(ua >> 52), eb = (int)(ub >> 52);
  uint64_t ma = ua & 0xfffffffffffffull, mb = ub & 0xfffffffffffffull;
  if (ea) ma |= 1ull << 52; else ea = 1;
  if (eb) mb |= 1ull << 52; else eb = 1;
  for (; ea > eb; ea--) {
    if (ma >= mb) ma -= mb;
    ma <<= 1;
  }
  if (ma >= mb) ma -= mb;
  if (ma == 0) return mp_double(sign);
  while (!(ma >> 52) && ea > 1) { ma <<= 1; ea--; }
  if (ma >> 52) ma = (ma & 0xfffffffffffffull) | (uint64_t)ea << 52;
  return mp_double(sign | ma);
}
MP_FN int mp_float_div(double a, double b, double* r) {
  if (b == 0.0) return MRPC_FAULT_DIVISION;
  *r = a / b;
  return 0;
}
MP_FN int mp_float_mod(double a, double b, double* r) {
  if (b == 0.0) return MRPC_FAULT_DIVISION;
  double m = mp_remainder(a, b);
  if (m != 0.0) { if ((b < 0) != (m < 0)) m += b; }
  else m = __builtin_copysign(0.0, b);
  *r = m;
  return 0;
}
MP_FN int mp_float_floordiv(double a, double b, double* r) {
  if (b == 0.0) return MRPC_FAULT_DIVISION;
  double m = mp_remainder(a, b), quotient = (a - m) / b;
  if (m != 0.0 && (b < 0) != (m < 0)) quotient -= 1.0;
  if (quotient != 0.0) {
    *r = mp_floor(quotient);
    if (quotient - *r > 0.5) *r += 1.0;
  } else {
    *r = __builtin_copysign(0.0, a / b);
  }
  return 0;
}
MP_FN int mp_to_int(double v, int64_t* r) {
  if (!(v >= -9223372036854775808.0 && v < 9223372036854775808.0)) return MRPC_FAULT_OVERFLOW;
  *r = (int64_t)v;
  return 0;
}
MP_FN int mp_round(double v, int64_t* r) { /* half to even */
  const int code = mp_to_int(v, r);
  if (code || !(v > -4503599627370496.0 && v < 4503599627370496.0)) return code;
  const double rest = v - (double)*r;
  if (rest > 0.5 || (rest == 0.5 && (*r & 1))) *r += 1;
  if (rest < -0.5 || (rest == -0.5 && (*r & 1))) *r -= 1;
  return 0;
}
MP_FN int mp_abs(int64_t v, int64_t* r) { return v < 0 ? mp_sub(0, v, r) : (*r = v, 0); }
MP_FN int mp_sqrt(double v, double* r) {
  if (v < 0) return MRPC_FAULT_OVERFLOW;
  *r = __builtin_sqrt(v);
  return 0;
}

/* ---- texts ---- */
MP_FN int mp_order(const char* a, const char* b, uint64_t n) {
  for (uint64_t i = 0; i < n; i++)
    if (a[i] != b[i]) return (uint8_t)a[i] < (uint8_t)b[i] ? -1 : 1;
  return 0;
}
MP_FN int mp_equal(mp_x* x, mrpc_text a, mrpc_text b, int* r) {
  *r = 0;
  if (a.size != b.size) return 0;
  const int code = mp_charge(x, a.size / 64);
  if (code) return code;
  *r = mp_order(a.data, b.data, a.size) == 0;
  return 0;
}
MP_FN int mp_compare(mp_x* x, mrpc_text a, mrpc_text b, int* r) {
  const uint64_t n = a.size < b.size ? a.size : b.size;
  const int code = mp_charge(x, n / 64);
  if (code) return code;
  *r = mp_order(a.data, b.data, n);
  if (*r == 0) *r = a.size < b.size ? -1 : a.size > b.size;
  return 0;
}
MP_FN int mp_startswith(mp_x* x, mrpc_text a, mrpc_text b, int* r) {
  if (a.size > b.size) a.size = b.size;
  return mp_equal(x, a, b, r);
}
MP_FN int mp_endswith(mp_x* x, mrpc_text a, mrpc_text b, int* r) {
  if (a.size > b.size) { a.data += a.size - b.size; a.size = b.size; }
  return mp_equal(x, a, b, r);
}
MP_COLD int mp_in_text(mp_x* x, mrpc_text needle, mrpc_text hay, int* r) {
  uint64_t work;
  *r = needle.size == 0;
  if (needle.size == 0 || needle.size > hay.size) return 0;
  if (__builtin_mul_overflow(needle.size, hay.size, &work)) return MRPC_FAULT_FUEL;
  const int code = mp_charge(x, work / 64);
  if (code) return code;
  for (uint64_t at = 0; at <= hay.size - needle.size && !*r; at++)
    *r = mp_order(hay.data + at, needle.data, needle.size) == 0;
  return 0;
}
MP_FN int mp_in_texts(mp_x* x, mrpc_text text, mrpc_list list, int* r) {
  const mrpc_text* items = (const mrpc_text*)list.items;
  uint64_t low = 0, high = list.count;
  *r = 0;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    int order = 0;
    const int code = mp_compare(x, items[middle], text, &order);
    if (code) return code;
    if (order == 0) { *r = 1; return 0; }
    if (order < 0) low = middle + 1; else high = middle;
  }
  return 0;
}
MP_FN int mp_in_ints(int64_t value, mrpc_list list) {
  const int64_t* items = (const int64_t*)list.items;
  uint64_t low = 0, high = list.count;
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    if (items[middle] == value) return 1;
    if (items[middle] < value) low = middle + 1; else high = middle;
  }
  return 0;
}
MP_FN int mp_hash(mp_x* x, const char* data, uint64_t size, int64_t* r) {
  const int code = mp_charge(x, size / 64);
  if (code) return code;
  uint64_t h = 0x9E3779B97F4A7C15ull ^ size;
  for (uint64_t at = 0; at < size; at += 8) {
    uint64_t word = 0;
    if (size - at >= 8) __builtin_memcpy(&word, data + at, 8);
    else for (uint64_t i = 0; at + i < size; i++) word |= (uint64_t)(uint8_t)data[at + i] << 8 * i;
    h = (h ^ word) * 0xFF51AFD7ED558CCDull;
    h ^= h >> 32;
  }
  h ^= h >> 29;
  h *= 0xBF58476D1CE4E5B9ull;
  *r = (int64_t)(h ^ h >> 32);
  return 0;
}

/* ---- message fields: everything that an offset leads to is checked against image_bytes ---- */
#define MP_LOAD(name, type) MP_FN type name(const uint8_t* at) { type v; __builtin_memcpy(&v, at, sizeof v); return v; }
MP_LOAD(mp_load_u32, uint32_t)
MP_LOAD(mp_load_i32, int32_t)
MP_LOAD(mp_load_i64, int64_t)
MP_LOAD(mp_load_u64, uint64_t)
MP_LOAD(mp_load_f32, float)
MP_LOAD(mp_load_f64, double)
MP_FN int mp_present(const uint8_t* at, uint32_t index) { return at[8 + index / 8] >> index % 8 & 1; }
MP_FN int mp_unsigned(const uint8_t* at, int64_t* r) {
  *r = mp_load_i64(at);
  return *r < 0 ? MRPC_FAULT_OVERFLOW : 0;
}
MP_FN int mp_span(const mrpc_frame* f, const uint8_t* ref, uint64_t bytes_each, const uint8_t** data, uint64_t* count) {
  const uint64_t offset = mp_load_u32(ref), n = mp_load_u32(ref + 4);
  *data = f->image;
  *count = n;
  if (n == 0) return 0;
  if (offset > f->image_bytes || n * bytes_each > f->image_bytes - offset) return MRPC_FAULT_BOUNDS;
  *data = f->image + offset;
  return 0;
}
MP_FN int mp_text_at(const mrpc_frame* f, const uint8_t* ref, mrpc_text* r) {
  return mp_span(f, ref, 1, (const uint8_t**)&r->data, &r->size);
}
MP_FN int mp_array_at(const mrpc_frame* f, const uint8_t* ref, uint32_t bytes_each, mp_array* r) {
  return mp_span(f, ref, bytes_each, &r->items, &r->count);
}
/* A sub-message; null when it is not set. */
MP_FN int mp_child(const mrpc_frame* f, const uint8_t* ref, uint32_t struct_bytes, const uint8_t** r) {
  const uint64_t offset = mp_load_u32(ref);
  *r = 0;
  if (mp_load_u32(ref + 4) == 0) return 0;
  if (offset > f->image_bytes || struct_bytes > f->image_bytes - offset) return MRPC_FAULT_BOUNDS;
  *r = f->image + offset;
  return 0;
}
MP_FN int mp_index(int64_t index, uint64_t count, uint64_t* r) {
  const uint64_t at = index < 0 ? (uint64_t)index + count : (uint64_t)index;
  *r = at;
  return at < count ? 0 : MRPC_FAULT_INDEX;
}

/* ---- verdicts ---- */
MP_FN int64_t mp_remaining(const mrpc_call* call) {
  if (call->deadline_ns == 0) return 1ll << 62;
  return call->deadline_ns > call->now_ns ? (int64_t)(call->deadline_ns - call->now_ns) : 0;
}
MP_FN void mp_say(mrpc_verdict* v, mrpc_text text) {
  uint64_t n = text.size;
  if (n > MRPC_TEXT_MAX) /* cut before a character, not within */
    for (n = MRPC_TEXT_MAX; n > MRPC_TEXT_MAX - 4 && ((uint8_t)text.data[n] & 0xC0) == 0x80; n--) {}
  for (uint64_t i = 0; i < n; i++) v->text[i] = text.data[i];
  v->text_size = (uint32_t)n;
}
MP_FN int32_t mp_deny(mrpc_frame* f, int64_t code, mrpc_text text) {
  f->verdict->code = code >= 1 && code <= 16 ? (int32_t)code : 2;
  mp_say(f->verdict, text);
  return MRPC_DENY;
}
MP_FN int32_t mp_delay(mrpc_frame* f, int64_t ns) {
  f->verdict->value = ns > 0 ? (uint64_t)ns : 0;
  return MRPC_DELAY;
}
MP_FN int32_t mp_route_key(mrpc_frame* f, int64_t hash) {
  f->verdict->value = (uint64_t)hash;
  f->verdict->text_size = 0;
  return MRPC_ROUTE;
}
MP_FN int mp_route_app(mrpc_frame* f, mrpc_text app) {
  if (app.size == 0 || app.size > MRPC_TEXT_MAX) return MRPC_FAULT_TEXT;
  mp_say(f->verdict, app);
  return 0;
}
MP_FN int32_t mp_answer(mrpc_frame* f, uint32_t store, mrpc_text key) {
  const int32_t found = f->host->answer(f, store, key);
  return found == MRPC_ANSWER_HIT ? MRPC_REPLY : found == MRPC_ANSWER_WAIT ? MRPC_HOLD : MRPC_FORWARD;
}

#ifdef MP_MAKES_TEXT
/* ---- texts that a program makes: in the arena, one after the other ---- */
MP_FN int mp_put(mp_x* x, mrpc_text* r, const char* data, uint64_t n) {
  if (n > MP_TEXT_MAX - r->size || n > MP_ARENA_MAX - x->used) return MRPC_FAULT_TEXT;
  for (uint64_t i = 0; i < n; i++) x->arena[x->used + i] = data[i];
  x->used += n;
  r->size += n;
  return 0;
}
MP_FN void mp_begin(mp_x* x, mrpc_text* r) {
  r->data = x->arena + x->used;
  r->size = 0;
}
MP_FN int mp_put_text(mp_x* x, mrpc_text* r, mrpc_text text) { return mp_put(x, r, text.data, text.size); }
MP_FN int mp_put_bool(mp_x* x, mrpc_text* r, int value) { return value ? mp_put(x, r, "True", 4) : mp_put(x, r, "False", 5); }
MP_COLD int mp_put_int(mp_x* x, mrpc_text* r, int64_t value) {
  char digits[20];
  int at = 20;
  uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
  do { digits[--at] = (char)('0' + rest % 10); rest /= 10; } while (rest);
  if (value < 0) digits[--at] = '-';
  return mp_put(x, r, digits + at, (uint64_t)(20 - at));
}
MP_FN int mp_put_tagged(mp_x* x, mrpc_text* r, char tag, uint64_t value, int bytes) {
  char out[9] = {tag};
  for (int i = 0; i < bytes; i++) out[1 + i] = (char)(value >> 8 * i);
  return mp_put(x, r, out, 1u + (uint64_t)bytes);
}
MP_FN int mp_key_text(mp_x* x, mrpc_text* r, mrpc_text text) {
  if (text.size > MP_TEXT_MAX) return MRPC_FAULT_TEXT;
  const int code = mp_put_tagged(x, r, 't', text.size, 4);
  return code ? code : mp_put_text(x, r, text);
}
#endif

#ifdef MP_MAKES_FLOAT_TEXT
/* The shortest digits that read back as the same number, as Python prints it: Steele and White's and Dybvig's free-format algorithm. */
#define MP_WORDS 40
typedef struct mp_big { uint32_t w[MP_WORDS]; } mp_big;
MP_COLD void mp_big_mul(mp_big* a, uint32_t by) {
  uint64_t carry = 0;
  for (int i = 0; i < MP_WORDS; i++) { carry += (uint64_t)a->w[i] * by; a->w[i] = (uint32_t)carry; carry >>= 32; }
}
MP_COLD void mp_big_set(mp_big* a, uint64_t v, int shift) {
  for (int i = 0; i < MP_WORDS; i++) a->w[i] = 0;
  a->w[0] = (uint32_t)v;
  a->w[1] = (uint32_t)(v >> 32);
  for (; shift >= 24; shift -= 24) mp_big_mul(a, 1u << 24);
  mp_big_mul(a, 1u << shift);
}
MP_COLD int mp_big_order(const mp_big* a, const mp_big* b) {
  for (int i = MP_WORDS - 1; i >= 0; i--)
    if (a->w[i] != b->w[i]) return a->w[i] < b->w[i] ? -1 : 1;
  return 0;
}
MP_COLD int mp_big_sum_order(const mp_big* a, const mp_big* b, const mp_big* c) { /* a + b against c */
  mp_big sum;
  uint64_t carry = 0;
  for (int i = 0; i < MP_WORDS; i++) { carry += (uint64_t)a->w[i] + b->w[i]; sum.w[i] = (uint32_t)carry; carry >>= 32; }
  return mp_big_order(&sum, c);
}
MP_COLD void mp_big_sub(mp_big* a, const mp_big* b) {
  int64_t carry = 0;
  for (int i = 0; i < MP_WORDS; i++) { carry += (int64_t)a->w[i] - b->w[i]; a->w[i] = (uint32_t)carry; carry >>= 32; }
}
/* Digits of a finite positive number; it is 0.DIGITS times ten to the power of *point. */
MP_COLD int mp_digits(double value, char* digits, int* point) {
  const uint64_t bits = mp_bits(value), fraction = bits & 0xfffffffffffffull;
  const int exponent = (int)(bits >> 52);
  const uint64_t f = exponent ? fraction | 1ull << 52 : fraction;
  const int e = (exponent ? exponent : 1) - 1075, even = !(f & 1), lower = fraction == 0 && exponent > 1;
  mp_big r, s, up, down;
  mp_big_set(&r, f, (e > 0 ? e : 0) + 1 + lower);
  mp_big_set(&s, 1, (e < 0 ? -e : 0) + 1 + lower);
  mp_big_set(&up, 1, (e > 0 ? e : 0) + lower);
  mp_big_set(&down, 1, e > 0 ? e : 0);
  int k = 0, n = 0;
  while (mp_big_sum_order(&r, &up, &s) >= !even) { mp_big_mul(&s, 10); k++; }
  for (;;) {
    mp_big r10 = r, up10 = up;
    mp_big_mul(&r10, 10);
    mp_big_mul(&up10, 10);
    if (mp_big_sum_order(&r10, &up10, &s) >= !even) break;
    r = r10;
    up = up10;
    mp_big_mul(&down, 10);
    k--;
  }
  for (;;) {
    char digit = '0';
    mp_big_mul(&r, 10);
    mp_big_mul(&up, 10);
    mp_big_mul(&down, 10);
    while (mp_big_order(&r, &s) >= 0) { mp_big_sub(&r, &s); digit++; }
    const int low = mp_big_order(&r, &down) < even, high = mp_big_sum_order(&r, &up, &s) >= !even;
    if (low || high) {
      const int half = mp_big_sum_order(&r, &r, &s);
      if (high && (!low || half > 0 || (half == 0 && (digit & 1)))) digit++;
      digits[n++] = digit;
      break;
    }
    digits[n++] = digit;
  }
  *point = k;
  return n;
}
MP_COLD int mp_format(double value, char* out) { /* at most 25 characters */
  char digits[20];
  int at = 0, point = 0;
  if (mp_is_nan(value)) { out[0] = 'n'; out[1] = 'a'; out[2] = 'n'; return 3; }
  if (mp_bits(value) >> 63) { out[at++] = '-'; value = -value; }
  if (!mp_is_finite(value)) { out[at++] = 'i'; out[at++] = 'n'; out[at++] = 'f'; return at; }
  if (value == 0.0) { out[at++] = '0'; out[at++] = '.'; out[at++] = '0'; return at; }
  const int n = mp_digits(value, digits, &point);
  if (point > -4 && point <= 16) {
    if (point <= 0) { out[at++] = '0'; out[at++] = '.'; }
    for (int i = point; i < 0; i++) out[at++] = '0';
    for (int i = 0; i < n || i <= point; i++) {
      if (i == point && point > 0) out[at++] = '.';
      if (i < n || point > 0) out[at++] = i < n ? digits[i] : '0';
    }
    return at;
  }
  out[at++] = digits[0];
  if (n > 1) out[at++] = '.';
  for (int i = 1; i < n; i++) out[at++] = digits[i];
  int power = point - 1;
  out[at++] = 'e';
  out[at++] = power < 0 ? '-' : '+';
  if (power < 0) power = -power;
  if (power >= 100) out[at++] = (char)('0' + power / 100);
  out[at++] = (char)('0' + power / 10 % 10);
  out[at++] = (char)('0' + power % 10);
  return at;
}
MP_COLD int mp_put_float(mp_x* x, mrpc_text* r, double value) {
  char out[32];
  if (value > -1e15 && value < 1e15 && value != 0.0 && value == (double)(int64_t)value) {
    const int code = mp_put_int(x, r, (int64_t)value);
    return code ? code : mp_put(x, r, ".0", 2);
  }
  return mp_put(x, r, out, (uint64_t)mp_format(value, out));
}
#endif
