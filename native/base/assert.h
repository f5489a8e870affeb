// Assertions stay on in release builds: they stand at hand-offs, where going on would corrupt a neighbour.
#pragma once

#include <cstdio>
#include <cstdlib>

#define MRPC_ASSERT(condition)                                                                 \
  do {                                                                                         \
    if (__builtin_expect(!(condition), 0)) {                                                   \
      std::fprintf(stderr, "mrpc: assertion failed: %s at %s:%d\n", #condition, __FILE__, __LINE__); \
      std::abort();                                                                            \
    }                                                                                          \
  } while (0)
