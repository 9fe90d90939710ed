#include "memory.h"

#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#endif

#include <map>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace unrolled {
namespace {

struct Pool {
  std::mutex mutex;
  std::map<size_t, std::vector<float*>> idle;    // by bytes
  std::unordered_map<float*, size_t> sizes;       // of what is in use or idle
  uint64_t in_use = 0, pooled = 0, peak = 0;
  uint64_t limit = 256u << 20;
  bool poison = [] {
    const char* text = getenv("UNROLLED_ENGINE_POISON");
    return text && *text && *text != '0';
  }();

  // Four sizes for each power of two, so that changing shapes meet again.
  static size_t rounded(size_t bytes) {
    size_t step = 4096;
    while (step * 8 < bytes) step *= 2;
    return (bytes + step - 1) / step * step;
  }

  void trim(uint64_t most) {  // the largest first
    while (pooled > most && !idle.empty()) {
      auto last = std::prev(idle.end());
      float* p = last->second.back();
      last->second.pop_back();
      pooled -= last->first;
      if (last->second.empty()) idle.erase(last);
      sizes.erase(p);
      free(p);
    }
  }
};

Pool* one = nullptr;  // never destroyed: workspaces may outlive static destruction

Pool* make() {
  one = new Pool;
#if defined(__unix__) || defined(__APPLE__)
  // A child of fork must not find the lock held by a thread that it does not have.
  pthread_atfork([] { one->mutex.lock(); }, [] { one->mutex.unlock(); }, [] { one->mutex.unlock(); });
#endif
  return one;
}

Pool& pool() {
  static Pool* made = make();
  return *made;
}

}  // namespace

float* take(size_t count) {
  Pool& p = pool();
  size_t bytes = Pool::rounded(count * sizeof(float));
  float* found = nullptr;
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    auto at = p.idle.lower_bound(bytes);
    if (at != p.idle.end() && at->first <= bytes + bytes / 4) {
      found = at->second.back();
      bytes = at->first;
      at->second.pop_back();
      if (at->second.empty()) p.idle.erase(at);
      p.pooled -= bytes;
    }
  }
  if (!found) {
    void* fresh = nullptr;
    size_t alignment = bytes >= (2u << 20) ? (2u << 20) : 4096;
    if (posix_memalign(&fresh, alignment, bytes)) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (bytes >= (2u << 20)) madvise(fresh, bytes, MADV_HUGEPAGE);
#endif
    found = (float*)fresh;
  }
  {
    std::lock_guard<std::mutex> lock(p.mutex);
    p.sizes[found] = bytes;
    p.in_use += bytes;
    if (p.in_use > p.peak) p.peak = p.in_use;
  }
  if (p.poison) memset(found, 0xff, bytes);  // all bits set: NaN
  return found;
}

void give_back(float* memory) {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  size_t bytes = p.sizes[memory];
  p.in_use -= bytes;
  p.idle[bytes].push_back(memory);
  p.pooled += bytes;
  p.trim(p.limit);
}

MemoryUse memory_use() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  return {p.in_use, p.pooled, p.peak};
}

void release_pooled() {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  p.trim(0);
}

void set_pool_limit(uint64_t bytes) {
  Pool& p = pool();
  std::lock_guard<std::mutex> lock(p.mutex);
  p.limit = bytes;
  p.trim(bytes);
}

}  // namespace unrolled
