// The pool of memory: everything comes back, and no more is kept than the limit.
#include "memory.h"

#include <thread>

#include "harness.h"

using namespace unrolled;

namespace {

void blocks() {
  CHECK(memory_use().in_use == 0);
  {
    Floats a(1), b(5000), none(0);
    CHECK(none.get() == nullptr);
    for (const Floats* f : {&a, &b}) CHECK((uintptr_t)f->get() % 64 == 0);
    CHECK(a.get()[0] != a.get()[0] && b.get()[4999] != b.get()[4999]);  // UNROLLED_ENGINE_POISON
    CHECK(memory_use().in_use >= 5001 * sizeof(float));
    b.get()[7] = 1;
    const float* was = b.get();
    a = std::move(b);
    CHECK(a.get() == was && b.get() == nullptr && was[7] == 1.0f);
    a = Floats();
    Floats again(5000);  // the same memory, poisoned anew
    CHECK(again.get() == was && was[7] != was[7]);
  }
  CHECK(memory_use().in_use == 0 && memory_use().pooled > 0);
  release_pooled();
  CHECK(memory_use().pooled == 0);
}

void many_threads() {
  set_pool_limit(1u << 20);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([i] {
      Random random(40 + i);
      Floats held[5];
      for (int k = 0; k < 2000; k++) {
        size_t count = (size_t)random.integer(1, 1 << random.integer(1, 17));
        Floats& f = held[random.integer(0, 4)];
        f = Floats(count);
        f.get()[0] = f.get()[count - 1] = (float)i;
        CHECK(f.get()[0] == (float)i);
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(memory_use().in_use == 0 && memory_use().pooled <= 1u << 20);
  CHECK(memory_use().peak >= memory_use().pooled);
}

// Ten thousand calls of changing shapes.
void calls() {
  Random random(41);
  const Cell cells[] = {cells::lstm(2, 3), cells::norm(2, 5, 3), cells::local(3, 33)};
  std::vector<std::shared_ptr<Executable>> inference, training;
  for (const Cell& c : cells) {
    inference.push_back(std::make_shared<Executable>(c.inference.ints, c.inference.floats, c.input));
    training.push_back(std::make_shared<Executable>(c.training.ints, c.training.floats, c.input));
  }
  const uint64_t limit = 3u << 20;
  set_pool_limit(limit);
  std::vector<std::shared_ptr<Saved>> held(7);
  for (int i = 0; i < 10000; i++) {
    int k = random.integer(0, 2);
    Shape shape = Shape::even(random.integer(1, 4), random.integer(1, i % 100 ? 4 : 150));
    Problem p(cells[k], shape, random);
    Problem::Result r = p.forward(i % 3 ? training[k] : inference[k]);
    if (i % 6 == 1) p.backward(*r.saved);
    held[random.integer(0, 6)] = r.saved;  // some are dropped without a backward, in any order
    uint64_t bytes = 0;
    for (const auto& s : held) bytes += s ? s->bytes() : 0;
    CHECK(memory_use().in_use >= bytes && memory_use().pooled <= limit);
  }
  held.clear();
  CHECK(memory_use().in_use == 0);
  set_pool_limit(0);
  CHECK(memory_use().pooled == 0);
}

}  // namespace

int main() {
  prepare();
  blocks();
  many_threads();
  calls();
}
