// Plans over time against their cells in double precision.
#include <cmath>

#include "harness.h"
#include "memory.h"

namespace {

void random_shapes() {
  Random random(11);
  for (int i = 0; i < 44; i++) {
    int in = random.integer(1, 40), hidden = random.integer(1, 70), out = random.integer(1, 70);
    Cell cell = i % 4 == 0   ? cells::lstm(in, hidden)
                : i % 4 == 1 ? cells::norm(in, hidden, out)
                : i % 4 == 2 ? cells::local(in, hidden)
                             : cells::level(in, hidden);
    Shape shape = Shape::random(random, i % 5 ? 6 : 13, i % 7 ? 5 : 27, 1 + i % 3);
    Problem(cell, shape, random).check_all(random);
  }
}

// Teams that share the units of one step, the batch split over threads, long sums.
void larger_shapes() {
  Random random(12);
  for (int batch : {1, 2, 3})
    for (int threads : {2, 3}) {
      Cell lstm = cells::lstm(9, 128);
      Problem(lstm, Shape::even(3, batch, threads), random).check_all(random);
    }
  for (int threads : {2, 3}) {
    Cell norm = cells::norm(5, 100, 96);
    Problem(norm, Shape::even(4, 7, threads), random).check_all(random);
    Cell lstm = cells::lstm(5, 33), local = cells::local(5, 33);
    for (const Cell* cell : {&lstm, &local}) {
      Shape ragged = Shape::even(5, 29, threads);
      for (int& n : ragged.length) n = random.integer(0, 5);
      Problem(*cell, ragged, random).check_all(random);
    }
  }
  // Sums that are cut into pieces: over outputs, over gates in the gradient of x, over x.
  Cell wide = cells::norm(5, 40, 600), deep = cells::local(1100, 9);
  Problem(wide, Shape::even(2, 16), random).check_all(random);
  Problem(deep, Shape::even(2, 16), random).check_all(random);
  Cell gates = cells::lstm(9, 140);
  Problem(gates, Shape::even(5, 3), random).check_all(random);
  // Two units' blocks and enough work: a team without a product. Against one thread.
  Cell local = cells::local(1000, 64);
  auto training = std::make_shared<unrolled::Executable>(local.training.ints, local.training.floats, local.input);
  Shape one = Shape::even(80, 7, 1), two = Shape::even(80, 7, 2);
  Random first(1), second(1);
  Problem a(local, one, first), b(local, two, second);
  Problem::Result ra = a.forward(training), rb = b.forward(training);
  CHECK(ra.saved->team == 1 && rb.saved->team == 2);
  std::vector<Guarded> ga = a.backward(*ra.saved), gb = b.backward(*rb.saved);
  CLOSE(rb.y.floats, Problem::wide(ra.y.floats), 1e-6);
  for (size_t k = 0; k < ga.size(); k++) CLOSE(gb[k], Problem::wide(ga[k]), 1e-6);
}

// Weights packed as bfloat16 give the very results of weights that are such numbers.
void halves() {
  Random random(14);
  for (int i = 0; i < 12; i++) {
    int in = random.integer(1, 40), hidden = random.integer(1, 70);
    Cell cell = i % 2 ? cells::lstm(in, hidden) : cells::local(in, hidden);
    auto inference = std::make_shared<unrolled::Executable>(cell.inference.ints, cell.inference.floats, cell.input);
    Shape shape = Shape::random(random, 6, i % 3 ? 5 : 27, 1 + i % 2);
    Random same(i), again(i);
    Problem exact(cell, shape, same), rounded(cell, shape, again);
    exact.weights[0][0] = 1.00390625f, rounded.weights[0][0] = 1.0f;  // a tie goes to the even one
    for (auto& w : rounded.weights)
      for (size_t k = 0; k < w.size(); k++) {
        double unit = w[k] ? std::ldexp(1.0, std::ilogb(w[k]) - 7) : 1;
        w[k] = (float)(std::nearbyint(w[k] / unit) * unit);
      }
    Problem::Result a = exact.forward(inference, true, true), b = rounded.forward(inference);
    CLOSE(a.y.floats, Problem::wide(b.y.floats), 0.0);
  }
}

// Gradients are added to what is there, and those not asked for are left out.
void accumulation() {
  Random random(13);
  for (int threads : {1, 2}) {
    Cell cell = cells::norm(7, 19, 34);
    Shape shape = Shape::even(4, 17, threads);
    Problem p(cell, shape, random);
    auto training = std::make_shared<unrolled::Executable>(cell.training.ints, cell.training.floats, cell.input);
    Problem::Result r = p.forward(training, false);
    for (const Guarded& f : r.final) CHECK(f[0] != f[0]);  // final states were not asked for
    std::vector<Guarded> all = p.backward(*r.saved);
    for (uint32_t wanted = 0; wanted < 1u << all.size(); wanted += 7) {
      std::vector<Guarded> some = p.backward(*r.saved, wanted);  // a Saved serves any number of times
      size_t nv = cell.weights.size() + cell.vectors.size();
      for (size_t k = 0; k < all.size(); k++)
        for (size_t i = 0; i < all[k].size(); i++) {
          float untouched = k < nv ? 0.0f : k == nv ? UNTOUCHED : NAN;
          float now = some[k][i], then = wanted >> k & 1 ? all[k][i] : untouched;
          CHECK(now == then || (now != now && then != then));
        }
    }
  }
}

}  // namespace

int main() {
  prepare();
  random_shapes();
  larger_shapes();
  halves();
  accumulation();
}
