// A Stepper computes what forward does, step by step; its states can be taken out and put back.
#include "harness.h"

using namespace unrolled;

namespace {

struct Layer {
  Cell cell;
  std::shared_ptr<Executable> executable;
  std::vector<Guarded> weights, vectors, states;
  Layer(Cell c, int batch, Random& random) : cell(std::move(c)) {
    executable = std::make_shared<Executable>(cell.inference.ints, cell.inference.floats, cell.input);
    for (int n : cell.weights) weights.emplace_back(n, random, 0.3f);
    for (int n : cell.vectors) vectors.emplace_back(n, random, 1);
    for (int n : cell.states) states.emplace_back((size_t)n * batch, random, 1);
  }
  std::shared_ptr<Packs> packs() const {
    Numbers addresses;
    for (const Guarded& w : weights) addresses.push_back(w.address());
    return executable->pack(addresses, false);
  }
  Numbers parameters() const {
    Numbers made;
    for (const Guarded& v : vectors) Problem::append(made, v);
    return made;
  }
  // All steps at once, from `states`, which become the final ones.
  Guarded forward(const Guarded& x, int steps, int batch) {
    int in = cell.input, out = cell.states[0];
    Guarded y((size_t)steps * batch * out);
    Numbers a{x.address(), batch * in, in, y.address(), batch * out, out};
    for (const Guarded& v : vectors) Problem::append(a, v);
    for (int turn = 0; turn < 2; turn++)
      for (const Guarded& s : states) a.push_back(s.address());
    executable->forward(Shape::even(steps, batch).sequences(), *packs(), a, 1);
    return y;
  }
};

typedef std::vector<Layer> Layers;

void set(Stepper& stepper, const Layers& layers) {
  for (size_t i = 0; i < layers.size(); i++) stepper.set_parameters((int)i, layers[i].packs(), layers[i].parameters());
}

Numbers addresses(const Layers& layers) {
  Numbers made;
  for (const Layer& layer : layers)
    for (const Guarded& s : layer.states) made.push_back(s.address());
  return made;
}

std::unique_ptr<Stepper> stepper(const Layers& layers, int batch) {
  std::vector<std::shared_ptr<Executable>> executables;
  for (const Layer& layer : layers) executables.push_back(layer.executable);
  auto made = std::make_unique<Stepper>(executables, batch);
  set(*made, layers);
  made->load(addresses(layers));
  return made;
}

Guarded run(Stepper& s, const Guarded& x, int steps, int row_in, int row_out) {
  Guarded y((size_t)steps * row_out);
  for (int t = 0; t < steps; t++) CHECK(s.step(x.p() + (size_t)t * row_in, y.p() + (size_t)t * row_out));
  CHECK(y.whole());
  return y;
}

void stack(int batch, int steps, Random& random) {
  Layers layers;
  layers.emplace_back(cells::lstm(5, random.integer(1, 40)), batch, random);
  layers.emplace_back(cells::local(layers[0].cell.states[0], random.integer(1, 70)), batch, random);
  layers.emplace_back(cells::lstm(layers[1].cell.states[0], 33), batch, random);
  const int in = batch * 5, out = batch * 33;
  Guarded x((size_t)steps * in, random, 1);
  auto one = stepper(layers, batch);

  Guarded wanted = x;
  Layers after = layers;
  for (Layer& layer : after) wanted = layer.forward(wanted, steps, batch);
  CLOSE(run(*one, x, steps, in, out), Problem::wide(wanted), 1e-5);

  // The states that come out are the final ones.
  Layers stored = layers;
  one->store(addresses(stored));
  for (size_t i = 0; i < layers.size(); i++)
    for (size_t f = 0; f < layers[i].states.size(); f++)
      CLOSE(stored[i].states[f], Problem::wide(after[i].states[f]), 1e-5);

  // Stored, gone on from, loaded again, and into another stepper: the same, bit by bit.
  Guarded next = run(*one, x, steps, in, out);
  one->load(addresses(stored));
  CLOSE(run(*one, x, steps, in, out), Problem::wide(next), 0);
  auto two = stepper(stored, batch);
  CLOSE(run(*two, x, steps, in, out), Problem::wide(next), 0);

  // Other parameters from here on; the states stay.
  two->load(addresses(stored));
  Layers other = stored;
  for (Layer& layer : other) {
    for (Guarded& w : layer.weights) w = Guarded(w.size(), random, 0.3f);
    for (Guarded& v : layer.vectors) v = Guarded(v.size(), random, 1);
  }
  set(*two, other);
  wanted = x;
  for (Layer& layer : other) wanted = layer.forward(wanted, steps, batch);
  CLOSE(run(*two, x, steps, in, out), Problem::wide(wanted), 1e-5);

  // Zeros for states not given.
  two->load(Numbers(5, 0));
  set(*two, layers);
  wanted = x;
  for (Layer& layer : layers) {
    for (Guarded& s : layer.states) s = Guarded(s.size(), 0.0f);
    wanted = layer.forward(wanted, steps, batch);
  }
  CLOSE(run(*two, x, steps, in, out), Problem::wide(wanted), 1e-5);
}

// A step is not done with weights that changed since they were watched.
void watched() {
  Random random(52);
  Layers layers;
  layers.emplace_back(cells::lstm(2, 3), 1, random);
  auto one = stepper(layers, 1);
  Guarded x(2, random, 1), y(3, UNTOUCHED), before(3), after(3);
  Numbers weights;
  for (const Guarded& w : layers[0].weights) Problem::append(weights, w);
  CHECK(one->step(x.p(), y.p()));
  one->watch(weights);
  CHECK(one->step(x.p(), y.p()));
  one->store({before.address(), after.address()});
  Guarded& w = layers[0].weights[1];
  for (size_t i : {(size_t)0, w.size() - 1}) {
    float kept = w[i];
    w[i] += 1;
    y = Guarded(3, UNTOUCHED);
    CHECK(!one->step(x.p(), y.p()) && y[0] == UNTOUCHED);
    w[i] = kept;
  }
  Guarded h(3), c(3);
  one->store({h.address(), c.address()});
  CLOSE(h, Problem::wide(before), 0);
  CHECK(one->step(x.p(), y.p()) && y[0] != UNTOUCHED);
}

}  // namespace

int main() {
  prepare();
  Random random(51);
  for (int batch : {1, 2, 3, 9})
    for (int steps : {1, 2, 5}) stack(batch, steps, random);
  watched();
}
