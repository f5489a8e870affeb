// mrpc-load: the native half of `mrpc load`. Prints one JSON object on stdout; what went wrong, on stderr.
#include <sys/prctl.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <thread>

#include "load/clock.h"
#include "load/driver.h"
#include "load/null_server.h"
#include "load/report.h"

namespace {

using namespace mrpc;
using namespace mrpc::load;

constexpr uint64_t kSetupNs = 20'000'000;  // from now to the first call, so that all threads are there
constexpr auto kProgressEvery = std::chrono::milliseconds(100);

int fail(const Error& error) {
  std::fprintf(stderr, "mrpc-load: %s\n", error.text.c_str());
  return error.code == StatusCode::kInvalidArgument ? 2 : 1;  // wrong usage, or what cannot be done now
}

Status serve_null(const Options& options) {
  const std::string& at = options.null_server;
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(at.data(), at.data() + at.size(), port);
  if (error != std::errc{} || end != at.data() + at.size()) return invalid_argument("--null-server needs a port");
  return serve_null_tcp(port);
}

Result<std::unique_ptr<Target>> make_target(const Options& options, int epoll_fd, Sink& sink) {
  if (options.target.starts_with("http://")) return make_http_target(options, epoll_fd, sink);
  if (options.target.starts_with("grpc://")) return make_grpc_target(options, epoll_fd, sink);
  if (options.target.starts_with("mrpc://")) return make_mrpc_target(options, epoll_fd, sink);
  return invalid_argument("unknown kind of target " + options.target + ": use http://, grpc:// or mrpc:///");
}

void print_progress(const std::vector<Progress>& parts) {
  unsigned long long due = 0, sent = 0, completed = 0;
  for (const Progress& part : parts) {
    due += part.due.load(std::memory_order_relaxed);
    sent += part.sent.load(std::memory_order_relaxed);
    completed += part.completed.load(std::memory_order_relaxed);
  }
  std::fprintf(stderr, "{\"due\":%llu,\"sent\":%llu,\"completed\":%llu}\n", due, sent, completed);
}

Account run_all(std::vector<std::unique_ptr<Driver>>& drivers, const std::vector<Progress>& progress, bool report) {
  std::vector<Account> accounts(drivers.size());
  std::atomic<size_t> running{drivers.size()};
  std::vector<std::jthread> threads;
  for (size_t i = 0; i < drivers.size(); ++i) {
    threads.emplace_back([&, i] {
      prctl(PR_SET_TIMERSLACK, 1);  // nanosecond; the default of 50 us would be most of the timer error
      accounts[i] = drivers[i]->run();
      running -= 1;
    });
  }
  while (report && running > 0) {
    std::this_thread::sleep_for(kProgressEvery);
    print_progress(progress);
  }
  threads.clear();  // joins
  for (size_t i = 1; i < accounts.size(); ++i) accounts[0].merge(accounts[i]);
  return std::move(accounts[0]);
}

int run(const Options& options) {
  const uint64_t start_ns = monotonic_ns() + kSetupNs;
  std::vector<Progress> progress(options.threads);
  std::vector<std::unique_ptr<Driver>> drivers;
  for (uint32_t i = 0; i < options.threads; ++i) {
    auto driver = Driver::create(options, i, start_ns, progress[i], make_target);
    if (!driver) return fail(driver.error());
    drivers.push_back(std::move(*driver));
  }
  const Account account = run_all(drivers, progress, options.progress);
  std::printf("%s\n", to_json(options, account).c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  auto options = parse_options(argc, argv);
  if (!options) return fail(options.error());
  if (options->null_server.empty()) return run(*options);
  const Status served = serve_null(*options);
  return served ? 0 : fail(served.error());
}
