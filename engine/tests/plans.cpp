// Hostile encodings of plans: each is refused with std::invalid_argument, or runs without leaving its memory.
#include <algorithm>
#include <stdexcept>
#include <string>

#include "harness.h"

using namespace unrolled;

namespace {

constexpr int INPUT = 3, STEPS = 3, BATCH = 3;

// The tensors of a plan of which nothing else is known, as large as it says.
struct Caller {
  const Plan& plan;
  std::vector<long> weights, vectors;
  std::vector<int> externs;
  std::vector<Guarded> floats;

  explicit Caller(const Plan& p) : plan(p), weights(p.weights, 1), vectors(p.vectors, 1), externs(p.externs, 1) {
    for (int i = 0; i < p.packs.count; i++) {
      const Pack& k = p.packs[i];
      long columns = k.transposed ? k.outer : k.inner;
      for (int b = 0; b < k.blocks.count; b++) grow(weights[k.weight], (k.blocks[b] + 1L) * k.block_units * columns);
    }
    for (int i = 0; i < p.weight_gradients.count; i++) {
      const WeightGradient& g = p.weight_gradients[i];
      grow(weights[g.slot], (g.block + 1L) * p.sizes[g.size] * units(g.argument.plane));
    }
    for (int i = 0; i < p.planes.count; i++) {
      const Plane& plane = p.planes[i];
      if (plane.kind == VECTOR || plane.kind == VECGRAD) grow(vectors[plane.source], (plane.source2 + 1L) * units(i));
      if (plane.kind == EXTERN) externs[plane.source] = std::max(externs[plane.source], units(i));
    }
    for (int i = 0; i < p.vector_gradients.count; i++) {
      const VectorGradient& g = p.vector_gradients[i];
      grow(vectors[g.tensor], (g.block + 1L) * units(g.gradient));
    }
  }
  static void grow(long& size, long least) { size = std::max(size, least); }
  int units(int plane) const { return plan.units(plan.planes[plane].size); }
  int state(int f) const { return units(plan.states[f].plane); }

  bool small() const {
    long sum = plan.planes.count;
    for (int i = 0; i < plan.planes.count; i++) sum += units(i);
    for (long w : weights) sum += w;
    for (long v : vectors) sum += v;
    return sum < 20000;
  }
  int64_t take(long n) {
    floats.emplace_back(n, 0.5f);
    return floats.back().address();
  }
  void tensor(Numbers& to, int n) { to.insert(to.end(), {take((long)STEPS * BATCH * n), BATCH * n, n}); }

  void run(const std::shared_ptr<Executable>& executable, Random& random) {
    Shape shape = Shape::even(STEPS, BATCH, random.integer(1, 2));
    for (int& n : shape.length) n = random.integer(0, STEPS);
    Numbers addresses, a;
    for (long w : weights) addresses.push_back(take(w));
    tensor(a, INPUT), tensor(a, state(0));
    for (int e : externs) tensor(a, e);
    for (long v : vectors) a.insert(a.end(), {take(v), v});
    for (int turn = 0; turn < 2; turn++)
      for (int f = 0; f < plan.states.count; f++) a.push_back(take((long)BATCH * state(f)));
    auto saved = executable->forward(shape.sequences(), *executable->pack(addresses, false), a, shape.threads);
    if (saved) {
      a.clear();
      tensor(a, INPUT), tensor(a, state(0)), tensor(a, INPUT);
      for (long w : weights) a.insert(a.end(), {take(w), w});
      for (long v : vectors) a.insert(a.end(), {take(v), v});
      for (int turn = 0; turn < 2; turn++)
        for (int f = 0; f < plan.states.count; f++) a.push_back(take((long)BATCH * state(f)));
      executable->backward(*saved, *executable->pack(addresses, true), a);
    }
    for (const Guarded& g : floats) CHECK(g.whole());
  }
};

int64_t anything(Random& random, int64_t now) {
  switch (random.integer(0, 7)) {
    case 0: return now + 1;
    case 1: return now - 1;
    case 2: return random.integer(-2, 3);
    case 3: return random.integer(0, 64);
    case 4: return random.integer(0, 5000);
    case 5: return (int64_t)random.bits() << random.integer(0, 32);
    case 6: return -(int64_t)random.bits();
    default: return random.integer(0, 30);
  }
}

// Cut off, a few numbers replaced, swapped, left out or put in.
void spoil(Encoded& e, Random& random) {
  if (!random.integer(0, 15)) e.ints.resize(random.integer(0, (int)e.ints.size()));
  if (!random.integer(0, 15)) e.floats.resize(random.integer(0, (int)e.floats.size()));
  for (int edits = random.integer(0, 3); edits >= 0 && !e.ints.empty(); edits--) {
    int i = random.integer(0, (int)e.ints.size() - 1), k = random.integer(0, (int)e.ints.size() - 1);
    int kind = random.integer(0, 9);
    if (kind == 0) std::swap(e.ints[i], e.ints[k]);
    else if (kind == 1) e.ints.erase(e.ints.begin() + i);
    else if (kind == 2) e.ints.insert(e.ints.begin() + i, anything(random, 0));
    else if (kind == 3) e.ints[i] = e.ints[k];
    else e.ints[i] = anything(random, e.ints[i]);
  }
  if (!random.integer(0, 3))
    for (double& f : e.floats) f = random.number(10);
}

void fuzz(int count) {
  Random random(21);
  const Cell cells[] = {cells::lstm(INPUT, 5), cells::norm(INPUT, 6, 4), cells::norm(INPUT, 5, 5), cells::norm(INPUT, 40, 1),
                        cells::local(INPUT, 33), cells::level(INPUT, 5)};
  int accepted = 0, ran = 0;
  for (int i = 0; i < count; i++) {
    const Cell& cell = cells[random.integer(0, 5)];
    Encoded e = random.integer(0, 2) ? cell.training : cell.inference;
    spoil(e, random);
    std::shared_ptr<Executable> executable;
    try {
      executable = std::make_shared<Executable>(e.ints, e.floats, INPUT);
    } catch (const std::invalid_argument& error) {
      CHECK(std::string(error.what()).rfind("not a plan of this engine: ", 0) == 0);
      continue;
    }
    accepted++;
    Caller caller(executable->plan);
    if (!caller.small()) continue;
    ran++;
    caller.run(executable, random);
  }
  std::printf("%d of %d accepted, %d of them ran\n", accepted, count, ran);
  CHECK(ran > count / 100 && accepted < count / 2);
}

template <class F>
void refused(F f) {
  try {
    f();
  } catch (const std::invalid_argument&) {
    return;
  }
  CHECK(!"refused");
}

// What is not a plan's encoding but a call's arguments.
void arguments() {
  Cell cell = cells::lstm(INPUT, 5);
  Shape shape = Shape::even(2, 2);
  Random random(22);
  Problem p(cell, shape, random);
  auto inference = std::make_shared<Executable>(cell.inference.ints, cell.inference.floats, INPUT);
  auto training = std::make_shared<Executable>(cell.training.ints, cell.training.floats, INPUT);
  refused([&] { Executable(cell.inference.ints, cell.inference.floats, 0); });
  refused([&] { inference->pack({1}, false); });
  auto packs = inference->pack(p.addresses(), false);
  refused([&] { inference->forward(shape.sequences(), *packs, Numbers(5), 1); });
  refused([&] { inference->forward(shape.sequences(), *packs, Numbers(50), 1); });
  Problem::Result r = p.forward(training);
  refused([&] { inference->backward(*r.saved, *packs, {}); });
  auto back = training->pack(p.addresses(), true);
  refused([&] { training->backward(*r.saved, *back, Numbers(9)); });
  refused([&] { Stepper({}, 1); });
  refused([&] { Stepper({training}, 1); });
  refused([&] { Stepper({inference}, 0); });
  refused([&] { use_isa("sse1"); });
}

}  // namespace

int main() {
  prepare();
  arguments();
  fuzz(20000);
}
