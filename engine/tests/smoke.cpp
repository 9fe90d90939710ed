// The instruction set that UNROLLED_ENGINE_ISA names is the one that runs.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "problem.h"

#define CHECK(condition) \
  ((condition) ? (void)0 : (std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), std::abort()))

int main() {
  const char* wanted = std::getenv("UNROLLED_ENGINE_ISA");
  CHECK(wanted != nullptr);
  CHECK(std::string(unrolled::isa().name) == wanted);
}
