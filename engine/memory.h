// Pooled, aligned memory: the first touch of fresh pages costs more than the computation that fills them.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace unrolled {

struct MemoryUse { uint64_t in_use, pooled, peak; };  // bytes

// 64-byte aligned memory for `count` floats, contents undefined (NaN if UNROLLED_ENGINE_POISON=1).
float* take(size_t count);
void give_back(float* p);
MemoryUse memory_use();
void release_pooled();
void set_pool_limit(uint64_t bytes);

// Memory that goes back by itself.
class Floats {
 public:
  Floats() = default;
  explicit Floats(size_t count) : p_(count ? take(count) : nullptr) {}
  ~Floats() { if (p_) give_back(p_); }
  Floats(Floats&& other) noexcept : p_(other.p_) { other.p_ = nullptr; }
  Floats& operator=(Floats&& other) noexcept {
    if (this != &other) {
      if (p_) give_back(p_);
      p_ = other.p_;
      other.p_ = nullptr;
    }
    return *this;
  }
  float* get() const { return p_; }

 private:
  float* p_ = nullptr;
};

}  // namespace unrolled
