#include "load/report.h"

#include <cstdio>

namespace mrpc::load {
namespace {

// Error texts come from the target: anything but printable ASCII is escaped.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const unsigned char c : text) {
    char escaped[8];
    if (c == '"' || c == '\\') { out += '\\'; out += static_cast<char>(c); }
    else if (c >= 0x20 && c < 0x7f) out += static_cast<char>(c);
    else { std::snprintf(escaped, sizeof escaped, "\\u%04x", c); out += escaped; }
  }
  return out + "\"";
}

class Object {
 public:
  Object& raw(std::string_view key, std::string_view value) {
    text_ += text_.empty() ? "{" : ",";
    text_ += quoted(key) + ":";
    text_ += value;
    return *this;
  }
  Object& number(std::string_view key, uint64_t value) { return raw(key, std::to_string(value)); }
  std::string end() { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

std::string histogram(const Histogram& h) {
  std::string buckets = "[";
  for (size_t i = 0; i < h.buckets(); ++i) {
    if (h.count_at(i) == 0) continue;
    if (buckets.size() > 1) buckets += ',';
    buckets += '[' + std::to_string(Histogram::value_of(i)) + ',' + std::to_string(h.count_at(i)) + ']';
  }
  return Object().number("count", h.count()).number("sum", h.sum()).number("min", h.least()).number("max", h.most())
      .raw("buckets", buckets + "]").end();
}

}  // namespace

std::string to_json(const Options& options, const Account& a) {
  Object codes, errors;
  for (Code code = 0; code < kCodes; ++code)
    if (a.codes[code]) codes.number(code_label(code), a.codes[code]);
  for (const auto& [text, count] : a.errors) errors.number(text, count);
  return Object()
      .raw("loop", options.closed ? "\"closed\"" : "\"open\"")
      .number("planned", a.planned).number("sent", a.sent).number("completed", a.completed).number("late_sends", a.late)
      .number("skipped_sends", a.skipped).number("unfinished", a.unfinished).number("warmup", a.warmup)
      .number("in_flight_peak", a.in_flight_peak).number("backlog_peak", a.backlog_peak)
      .number("measured_ns", a.measured_ns).number("generator_cpu_ns", a.cpu_ns)
      .raw("status_codes", codes.end()).raw("errors", errors.end())
      .raw("corrected", histogram(a.corrected)).raw("uncorrected", histogram(a.uncorrected))
      .raw("failed", histogram(a.failed)).raw("timer_error", histogram(a.timer_error))
      .end();
}

}  // namespace mrpc::load
