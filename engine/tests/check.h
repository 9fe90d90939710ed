// What the programs of engine/tests share: CHECK, random numbers, guarded memory and the comparison of results.
#pragma once
#include <stdint.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "problem.h"

#define CHECK(condition) \
  ((condition) ? (void)0 : (std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), std::abort()))

typedef std::vector<double> Doubles;

// The same numbers everywhere, unlike those of the standard library's distributions.
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15u + 1) {}
  uint32_t bits() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state * 0x2545f4914f6cdd1du) >> 32);
  }
  int integer(int low, int high) { return low + (int)(bits() % (uint32_t)(high - low + 1)); }  // both may come
  float number(float scale = 1.0f) { return scale * ((float)(bits() >> 8) / 8388608.0f - 1.0f); }
};

// Floats of the caller with guards on both sides; sanitizers see what lies past the guards.
class Guarded {
 public:
  explicit Guarded(size_t count, float fill = NAN) : floats_(count + 2 * GUARD), count_(count) {
    for (size_t i = 0; i < floats_.size(); i++) floats_[i] = inside(i) ? fill : canary(i);
  }
  Guarded(size_t count, Random& random, float scale) : Guarded(count) {
    for (size_t i = 0; i < count; i++) p()[i] = random.number(scale);
  }
  float* p() { return floats_.data() + GUARD; }
  const float* p() const { return floats_.data() + GUARD; }
  float operator[](size_t i) const { return p()[i]; }
  float& operator[](size_t i) { return p()[i]; }
  size_t size() const { return count_; }
  int64_t address() const { return (int64_t)(intptr_t)p(); }
  bool whole() const {
    for (size_t i = 0; i < floats_.size(); i++)
      if (!inside(i) && floats_[i] != canary(i)) return false;
    return true;
  }

 private:
  static constexpr size_t GUARD = 40;
  bool inside(size_t i) const { return i >= GUARD && i < GUARD + count_; }
  static float canary(size_t i) { return 12345.0f + (float)i; }
  std::vector<float> floats_;
  size_t count_;
};

constexpr float UNTOUCHED = 777.0f;  // what results are filled with where nothing may be written

// The largest difference from the reference, measured by the reference's largest number (at least `floor`). Where the
// reference is NaN, nothing may have been written.
inline double difference(const Guarded& got, const Doubles& wanted, double floor = 1e-2) {
  CHECK(got.size() == wanted.size());
  double most = floor, worst = 0;
  for (double w : wanted)
    if (w == w) most = std::fmax(most, std::fabs(w));
  for (size_t i = 0; i < wanted.size(); i++) {
    if (wanted[i] != wanted[i]) {
      CHECK(got[i] == UNTOUCHED);
      continue;
    }
    double d = std::fabs(got[i] - wanted[i]);
    if (d != d) return NAN;
    worst = std::fmax(worst, d);
  }
  return worst / most;
}

inline void close(const Guarded& got, const Doubles& wanted, double most, const char* what, const char* file, int line) {
  double d = difference(got, wanted);
  bool right = d <= most && got.whole();
  if (!right) std::fprintf(stderr, "%s:%d: %s is off by %g (%s)\n", file, line, what, d, unrolled::isa().name), std::abort();
}

// Fails where the difference is above `most`, and where a guard was overwritten.
#define CLOSE(got, wanted, most) close(got, wanted, most, #got, __FILE__, __LINE__)

// Memory that nobody wrote is NaN, and the instruction set that UNROLLED_ENGINE_ISA names is the one that runs.
inline void prepare() {
  setenv("UNROLLED_ENGINE_POISON", "1", 1);
  const char* wanted = std::getenv("UNROLLED_ENGINE_ISA");
  if (wanted) CHECK(std::strcmp(unrolled::isa().name, wanted) == 0);
}
