// Threads for one call: OpenMP's where the process has them, else a small pool of our own; and a barrier that spins.
//
// torch's operators run on OpenMP's threads, whose idle members spin for some milliseconds before they sleep. Threads of
// our own would share the processors with them: on two cores the backward pass of a small LSTM then gains nothing from
// the second one.
#pragma once
#include <atomic>

namespace unrolled {

// All members of a team wait here for one another; made for waits of microseconds.
class Barrier {
 public:
  explicit Barrier(int members) : members_(members) {}
  void wait();
  // Before any member waits: that so many come. All say the same.
  void expect(int members) { members_.store(members, std::memory_order_relaxed); }

 private:
  std::atomic<int> members_;
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

// Runs `count` pieces, each a team of its own with id 0..count-1 and no barrier, on as many threads as can be had, one
// after another in the caller if no other.
void run_apart(int count, Work work, void* data);

// Runs a team of at most `count` threads that may meet at its barrier; of the caller alone if no other can be had.
void run_together(int count, Work work, void* data);

}  // namespace unrolled
