// A small pool of threads, one for the process, and a barrier that spins.
#pragma once
#include <atomic>

namespace unrolled {

// All members of a team wait here for one another; made for waits of microseconds.
class Barrier {
 public:
  explicit Barrier(int members) : members_(members) {}
  void wait();

 private:
  const int members_;
  std::atomic<int> arrived_{0};
  std::atomic<int> round_{0};
};

// One thread's place in a team that works on one problem together.
struct Team {
  int id = 0, size = 1;
  Barrier* barrier = nullptr;
  void sync() const { if (size > 1) barrier->wait(); }
};

// Work is a plain function: the sources for each instruction set share no out-of-line templates.
typedef void (*Work)(void* data, const Team&);

// Runs `count` pieces, each a team of its own with id 0..count-1 and no barrier, on as many threads if the pool is free,
// otherwise one after another in the caller.
void run_apart(int count, Work work, void* data);

// Runs a team of `count` threads that may meet at its barrier; a team of one if the pool is busy with another call.
void run_together(int count, Work work, void* data);

}  // namespace unrolled
