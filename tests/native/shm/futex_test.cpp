#include "shm/futex.h"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>
#include <thread>

using namespace mrpc::shm;

namespace {

char state_of(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return text.at(text.rfind(')') + 2);
}

// A thread that sleeps on a word until it is woken once.
class Sleeper {
 public:
  // Returns when it sleeps.
  template <typename Wait>
  explicit Sleeper(const Wait& wait) : thread_([this, wait] {
    id_ = static_cast<pid_t>(::syscall(SYS_gettid));
    wait();
    awake_ = true;
    awake_.notify_one();
  }) {
    while (id_ == 0 || state_of(id_) != 'S') std::this_thread::yield();
  }
  ~Sleeper() { thread_.join(); }

  void await() { awake_.wait(false); }
  bool sleeps() const { return !awake_ && state_of(id_) == 'S'; }

 private:
  std::atomic<pid_t> id_{0};
  std::atomic<bool> awake_{false};
  std::thread thread_;
};

}  // namespace

TEST_CASE("who sleeps as first is woken before others that have slept longer, and they when nobody does") {
  std::atomic<uint32_t> word{0};
  Sleeper other([&] { futex_wait_first(&word, 0, UINT64_MAX, false); });
  Sleeper first([&] { futex_wait_first(&word, 0, UINT64_MAX, true); });
  futex_wake_one(&word);
  first.await();
  CHECK(other.sleeps());
  futex_wake_one(&word);
  other.await();
}

TEST_CASE("who sleeps in no order is woken in its turn, by either way of waking") {
  std::atomic<uint32_t> word{0};
  Sleeper any([&] { futex_wait(&word, 0, UINT64_MAX); });
  futex_wake_one(&word);
  any.await();
  Sleeper other([&] { futex_wait_first(&word, 0, UINT64_MAX, false); });
  futex_wake(&word, 1);
  other.await();
}

TEST_CASE("a sleep in order ends with its time, or when the word has changed") {
  std::atomic<uint32_t> word{1};
  futex_wait_first(&word, 0, UINT64_MAX, true);
  futex_wait_first(&word, 1, 1000, false);
}
