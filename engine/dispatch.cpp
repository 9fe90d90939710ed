// Which instruction set runs: the best that this processor has, or the one that UNROLLED_ENGINE_ISA names.
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <stdexcept>
#include <string>

#include "problem.h"

namespace unrolled {
namespace {

std::atomic<const Isa*> chosen{nullptr};

const Isa* named(const std::string& name) {
  std::string known;
  for (const Isa* one : isas()) {
    if (name == one->name) return one;
    known += (known.empty() ? "" : ", ") + std::string(one->name);
  }
  throw std::invalid_argument("no instruction set '" + name + "' on this machine; it has " + known);
}

}  // namespace

std::vector<const Isa*> isas() {
  std::vector<const Isa*> found;
#if UNROLLED_HAVE_X86
  bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    found.push_back(isa_avx512());
  if (avx2) found.push_back(isa_avx2());
#endif
  found.push_back(isa_baseline());
#if UNROLLED_HAVE_X86
  if (avx2) found.push_back(isa_wide());
#else
  found.push_back(isa_wide());
#endif
  return found;
}

const Isa& isa() {
  const Isa* one = chosen.load(std::memory_order_relaxed);
  if (!one) {
    const char* wanted = getenv("UNROLLED_ENGINE_ISA");
    one = wanted && *wanted ? named(wanted) : isas()[0];
    chosen.store(one, std::memory_order_relaxed);
  }
  return *one;
}

void use_isa(const char* name) { chosen.store(named(name), std::memory_order_relaxed); }

}  // namespace unrolled
