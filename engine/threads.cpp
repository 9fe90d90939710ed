#include "threads.h"

#include <dlfcn.h>
#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace unrolled {
namespace {

inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Pool {
 public:
  // The calling thread takes part; false if another call holds the pool.
  bool run(int count, Work work, void* data, Barrier* barrier) {
    if (!busy_.try_lock()) return false;
    start(count - 1);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      work_ = work;
      data_ = data;
      barrier_ = barrier;
      count_ = count;
      left_.store(count - 1, std::memory_order_relaxed);
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(data, member(0));
    for (int spins = 0; left_.load(std::memory_order_acquire) > 0; spins++) {
      if (spins < 20000) pause();
      else std::this_thread::yield();
    }
    busy_.unlock();
    return true;
  }

 private:
  Team member(int id) const {
    Team team;
    team.id = id;
    team.size = barrier_ ? count_ : 1;
    team.barrier = barrier_;
    return team;
  }

  void start(int wanted) {
    while ((int)threads_.size() < wanted) {
      int id = (int)threads_.size() + 1;
      int seen = round_.load(std::memory_order_relaxed);
      threads_.emplace_back([this, id, seen] { serve(id, seen); });
      threads_.back().detach();
    }
  }

  void serve(int id, int seen) {
    for (;;) {
      for (int spins = 0; spins < 4000 && round_.load(std::memory_order_acquire) == seen; spins++) pause();
      Work work = nullptr;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return round_.load(std::memory_order_relaxed) != seen; });
        seen = round_.load(std::memory_order_relaxed);
        if (id < count_) work = work_;
      }
      if (work) {
        work(data_, member(id));
        left_.fetch_sub(1, std::memory_order_release);
      }
    }
  }

  std::mutex busy_, mutex_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
  Work work_ = nullptr;
  void* data_ = nullptr;
  Barrier* barrier_ = nullptr;
  int count_ = 0;
  std::atomic<int> round_{0}, left_{0};
};

Pool* the_pool = nullptr;
std::mutex making;

Pool& pool() {
  std::lock_guard<std::mutex> lock(making);
  if (!the_pool) the_pool = new Pool;
  return *the_pool;
}

// GNU OpenMP's functions (LLVM's library has them too), if something loaded it for all to see, as torch does.
struct OpenMP {
  void (*parallel)(void (*)(void*), void*, unsigned threads, unsigned flags) = nullptr;
  int (*id)() = nullptr;
  int (*size)() = nullptr;
  bool forked = false;  // a child of fork has none of its threads, and the library does not know

  OpenMP() {
    parallel = (decltype(parallel))dlsym(RTLD_DEFAULT, "GOMP_parallel");
    id = (decltype(id))dlsym(RTLD_DEFAULT, "omp_get_thread_num");
    size = (decltype(size))dlsym(RTLD_DEFAULT, "omp_get_num_threads");
  }
  bool there() const { return parallel && id && size && !forked; }
};

OpenMP& openmp() {
  static OpenMP* one = [] {
    OpenMP* made = new OpenMP;
    // A child of fork leaves the parent's pool alone and makes its own.
    pthread_atfork([] { making.lock(); }, [] { making.unlock(); }, [] {
      the_pool = nullptr;
      making.unlock();
      openmp().forked = true;
    });
    return made;
  }();
  return *one;
}

struct Job {
  int count;
  Work work;
  void* data;
  Barrier* barrier;  // of those that work together
};

// One of OpenMP's threads; there may be fewer than asked for, or more.
void serve(void* shared) {
  const Job& job = *(const Job*)shared;
  int id = openmp().id(), size = openmp().size();
  Team team;
  if (job.barrier) {
    team.size = size < job.count ? size : job.count;
    if (id >= team.size) return;
    team.id = id;
    team.barrier = job.barrier;
    job.barrier->expect(team.size);
    job.work(job.data, team);
    return;
  }
  for (team.id = id; team.id < job.count; team.id += size) job.work(job.data, team);
}

bool run(int count, Work work, void* data, Barrier* barrier) {
  if (!openmp().there()) return pool().run(count, work, data, barrier);
  Job job{count, work, data, barrier};
  openmp().parallel(serve, &job, 0, 0);  // as many as torch has: another number would end some of them
  return true;
}

}  // namespace

void Barrier::wait() {
  int round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) == members_.load(std::memory_order_relaxed) - 1) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    return;
  }
  for (int spins = 0; round_.load(std::memory_order_acquire) == round; spins++) {
    if (spins < 4000) pause();
    else std::this_thread::yield();
  }
}

void run_apart(int count, Work work, void* data) {
  if (count > 1 && run(count, work, data, nullptr)) return;
  for (int i = 0; i < count; i++) {
    Team alone;
    alone.id = i;
    work(data, alone);
  }
}

void run_together(int count, Work work, void* data) {
  if (count > 1) {
    Barrier barrier(count);
    if (run(count, work, data, &barrier)) return;
  }
  work(data, Team{});
}

}  // namespace unrolled
