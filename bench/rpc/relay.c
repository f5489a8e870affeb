// The floor: 64 bytes handed client -> daemon -> server -> daemon -> client through shared memory, with nothing else
// done on the way. Each of the three processes owns a futex word; a hand-over copies the message, advances the next one's
// word and wakes it if it sleeps. What RPC adds to this is the RPC system's own cost.
//
// usage: relay CALLS POLL_CLIENT POLL_DAEMON POLL_SERVER CPU_CLIENT CPU_DAEMON CPU_SERVER
// POLL_x: 1 busy-waits, 0 sleeps at once. CPU_x: -1 leaves placement to the kernel. Prints each round trip in nanoseconds.
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { kMessageBytes = 64, kWarmup = 2000 };

struct mailbox {
  _Alignas(128) _Atomic unsigned turn;  // messages that came so far
  _Alignas(128) _Atomic unsigned asleep;
  _Alignas(128) char message[kMessageBytes];
};

// Towards: the daemon from the client, the server, the daemon from the server, the client. The daemon waits on one word for
// both directions, as a real one waits on one doorbell: they alternate.
struct shared {
  struct mailbox client, daemon, server;
};

static void hand_over(struct mailbox* to, const char* message) {
  memcpy(to->message, message, kMessageBytes);
  atomic_fetch_add(&to->turn, 1);
  if (atomic_load(&to->asleep)) syscall(SYS_futex, &to->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void await(struct mailbox* box, unsigned turn, int poll, char* message) {
  while (atomic_load(&box->turn) != turn) {
    if (poll) {
      __builtin_ia32_pause();
      continue;
    }
    atomic_store(&box->asleep, 1);
    const unsigned seen = atomic_load(&box->turn);
    if (seen != turn) syscall(SYS_futex, &box->turn, FUTEX_WAIT, seen, NULL, NULL, 0);
    atomic_store(&box->asleep, 0);
  }
  memcpy(message, box->message, kMessageBytes);
}

static void pin(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) perror("sched_setaffinity");
}

static void run_server(struct shared* s, int poll) {
  char message[kMessageBytes];
  for (unsigned turn = 1;; ++turn) {
    await(&s->server, turn, poll, message);
    hand_over(&s->daemon, message);
  }
}

static void run_daemon(struct shared* s, int poll) {
  char message[kMessageBytes];
  for (unsigned turn = 1;; turn += 2) {
    await(&s->daemon, turn, poll, message);
    hand_over(&s->server, message);
    await(&s->daemon, turn + 1, poll, message);
    hand_over(&s->client, message);
  }
}

static long now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static pid_t start(void (*run)(struct shared*, int), struct shared* s, int poll, int cpu) {
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid != 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(0);
  pin(cpu);
  run(s, poll);
  _exit(0);
}

int main(int argc, char** argv) {
  if (argc != 8) return 2;
  const int calls = atoi(argv[1]);
  struct shared* s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  long* times = malloc(sizeof *times * (size_t)(calls > 0 ? calls : 1));
  if (calls <= 0 || s == MAP_FAILED || !times) return 2;
  const pid_t daemon_pid = start(run_daemon, s, atoi(argv[3]), atoi(argv[6]));
  const pid_t server_pid = start(run_server, s, atoi(argv[4]), atoi(argv[7]));
  pin(atoi(argv[5]));
  char message[kMessageBytes] = {0};
  for (int i = -kWarmup; i < calls; ++i) {
    const long began = now_ns();
    hand_over(&s->daemon, message);
    await(&s->client, (unsigned)(i + kWarmup + 1), atoi(argv[2]), message);
    if (i >= 0) times[i] = now_ns() - began;
  }
  kill(daemon_pid, SIGKILL);
  kill(server_pid, SIGKILL);
  while (wait(NULL) > 0) {}
  for (int i = 0; i < calls; ++i) printf("%ld\n", times[i]);
  return 0;
}
