#include "load/options.h"

#include <charconv>
#include <cmath>
#include <functional>
#include <map>

namespace mrpc::load {
namespace {

template <typename T>
bool read_number(std::string_view text, T& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size();
}

using Setter = std::function<bool(Options&, std::string_view)>;

template <typename T>
Setter number(T Options::*field) {
  return [field](Options& o, std::string_view text) { return read_number(text, o.*field); };
}
Setter text(std::string Options::*field) {
  return [field](Options& o, std::string_view value) { o.*field = value; return true; };
}

bool add_metadata(Options& o, std::string_view pair) {
  const size_t colon = pair.find(':', 1);
  if (colon == std::string_view::npos) return false;
  const size_t value = std::min(pair.find_first_not_of(' ', colon + 1), pair.size());
  o.metadata.emplace_back(pair.substr(0, colon), pair.substr(value));
  return true;
}

const std::map<std::string_view, Setter>& setters() {
  static const std::map<std::string_view, Setter> table = {
      {"--rate", number(&Options::rate)},
      {"--closed", number(&Options::closed)},
      {"--duration", number(&Options::duration_s)},
      {"--count", number(&Options::count)},
      {"--warmup", number(&Options::warmup_s)},
      {"--drain", number(&Options::drain_s)},
      {"--timeout", number(&Options::timeout_s)},
      {"--connections", number(&Options::connections)},
      {"--threads", number(&Options::threads)},
      {"--max-in-flight", number(&Options::in_flight_max)},
      {"--seed", number(&Options::seed)},
      {"--late-us", number(&Options::late_us)},
      {"--requests", text(&Options::requests_file)},
      {"--payloads", text(&Options::payloads_file)},
      {"--schema", text(&Options::schema_file)},
      {"--metadata", add_metadata},
      {"--null-server", text(&Options::null_server)},
  };
  return table;
}

bool in_range(double value, double low, double high) { return std::isfinite(value) && value >= low && value <= high; }

Status check(const Options& o) {
  if (!o.null_server.empty()) return ok_status();
  if (o.target.empty()) return invalid_argument("name a target: http://host:port, grpc://host:port/pkg.Service/Method or mrpc:///pkg.Service/Method");
  if ((o.rate != 0) == (o.closed != 0)) return invalid_argument("give either --rate CALLS_PER_SECOND (open loop) or --closed CALLS_IN_FLIGHT");
  if (o.closed == 0 && !in_range(o.rate, 1e-3, 1e8)) return invalid_argument("--rate must be between 0.001 and 100000000");
  for (const double seconds : {o.duration_s, o.warmup_s, o.drain_s, o.timeout_s})
    if (!in_range(seconds, 0, 1e6)) return invalid_argument("times are between 0 and 1000000 seconds");
  if (o.timeout_s == 0) return invalid_argument("--timeout must be above 0");
  if (o.connections == 0 || o.connections > 65536) return invalid_argument("--connections must be between 1 and 65536");
  if (o.threads == 0 || o.threads > 256) return invalid_argument("--threads must be between 1 and 256");
  if (o.in_flight_max == 0 || o.in_flight_max > 1'000'000) return invalid_argument("--max-in-flight must be between 1 and 1000000");
  if (o.closed > o.in_flight_max) return invalid_argument("--closed exceeds --max-in-flight; raise the latter");
  return ok_status();
}

}  // namespace

Result<Options> parse_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg == "--spin") { options.spin = true; continue; }
    if (arg == "--progress") { options.progress = true; continue; }
    if (!arg.starts_with("--")) { options.target = arg; continue; }
    const auto setter = setters().find(arg);
    if (setter == setters().end()) return invalid_argument("unknown option " + std::string(arg));
    if (i + 1 == argc || !setter->second(options, argv[++i])) return invalid_argument(std::string(arg) + " needs a proper value");
  }
  if (Status checked = check(options); !checked) return checked.error();
  return options;
}

}  // namespace mrpc::load
