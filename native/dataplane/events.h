// What happened, for the control plane: a bounded queue with a descriptor that is readable while it is not empty.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"

namespace mrpc::dataplane {

struct ControlEvent {
  std::string kind;  // attached, detached, offered, withdrawn, refused, peer_up, peer_down, log, program_needed
  std::string app, principal, label, role, service, peer, text;
  uint32_t attachment = 0;
  int64_t uid = -1, pid = 0;
  uint64_t fingerprint = 0;  // of program_needed
};

class EventQueue {
 public:
  EventQueue() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  int fd() const { return fd_.get(); }
  void push(ControlEvent event) {
    const std::lock_guard lock(mutex_);
    if (events_.size() == kMax) events_.pop_front();  // a control plane that does not listen costs no memory
    events_.push_back(std::move(event));
    const uint64_t one = 1;
    (void)!::write(fd_.get(), &one, sizeof one);
  }
  std::vector<ControlEvent> drain() {
    const std::lock_guard lock(mutex_);
    uint64_t count;
    (void)!::read(fd_.get(), &count, sizeof count);
    std::vector<ControlEvent> taken(std::make_move_iterator(events_.begin()), std::make_move_iterator(events_.end()));
    events_.clear();
    return taken;
  }

 private:
  static constexpr size_t kMax = 65536;
  Fd fd_;
  std::mutex mutex_;
  std::deque<ControlEvent> events_;
};

}  // namespace mrpc::dataplane
