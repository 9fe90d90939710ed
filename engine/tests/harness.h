// Runs a cell through the engine and through its step in double precision, and compares all results: outputs, final
// states, and gradients against differences of the loss along random directions.
#pragma once
#include <memory>

#include "cells.h"

using unrolled::Numbers;

struct Shape {
  int steps, batch;
  std::vector<int> entry, start, length;  // of each sequence
  bool reverse = false, batch_first = false, with_initial = true, with_final = true;
  int threads = 1;

  int count() const { return (int)length.size(); }
  std::shared_ptr<unrolled::Sequences> sequences() const {
    auto made = std::make_shared<unrolled::Sequences>();
    made->batch = entry, made->start = start, made->length = length, made->reverse = reverse;
    return made;
  }
  static Shape even(int steps, int batch, int threads = 1) {
    Shape s;
    s.steps = steps, s.batch = batch, s.threads = threads;
    for (int b = 0; b < batch; b++) s.entry.push_back(b), s.start.push_back(0), s.length.push_back(steps);
    return s;
  }
  // Ragged lengths, some of them 0; entries cut into pieces with gaps; either direction and layout.
  static Shape random(Random& r, int most_steps, int most_batch, int threads) {
    Shape s;
    s.steps = r.integer(0, most_steps), s.batch = r.integer(0, most_batch), s.threads = threads;
    s.reverse = r.integer(0, 1), s.batch_first = r.integer(0, 1);
    s.with_initial = r.integer(0, 2), s.with_final = r.integer(0, 2);
    bool even = !r.integer(0, 3), pieces = !r.integer(0, 2);
    for (int b = 0; b < s.batch; b++)
      for (int at = 0;;) {
        int n = even ? s.steps : r.integer(0, s.steps - at);
        s.entry.push_back(b), s.start.push_back(at), s.length.push_back(n);
        at += n + r.integer(0, 1);
        if (!pieces || even || at > s.steps) break;
      }
    return s;
  }
};

// A tensor [steps, batch, n] with any strides.
struct Sequence {
  long row, time, batch;
  Guarded floats;
  Sequence(const Shape& s, long row_, float fill)
      : row(row_), time(s.batch_first ? row : row * s.batch), batch(s.batch_first ? row * s.steps : row),
        floats((size_t)(s.steps * s.batch * row), fill) {}
  void fill(Random& random, float low, float high) {  // everything, gaps too
    for (size_t i = 0; i < floats.size(); i++) floats[i] = low + (high - low) * (random.number() + 1) / 2;
  }
  long at(int t, int b) const { return t * time + b * batch; }
  void append(Numbers& to) const { to.push_back(floats.address()), to.push_back(time), to.push_back(batch); }
};

struct Problem {
  const Cell& cell;
  const Shape& shape;
  std::vector<Guarded> weights, vectors, initial, d_final;
  std::vector<Sequence> externs;
  Sequence x, dy;

  Problem(const Cell& c, const Shape& s, Random& random)
      : cell(c), shape(s), x(s, c.input + random.integer(0, 1), 0), dy(s, c.states[0] + random.integer(0, 1), 0) {
    for (int n : c.weights) weights.emplace_back(n, random, 0.3f);
    for (int n : c.vectors) vectors.emplace_back(n, random, 1);
    for (int n : c.states) initial.emplace_back(n * s.count(), random, 1), d_final.emplace_back(n * s.count(), random, 1);
    for (int n : c.externs) externs.emplace_back(s, n + 1, 0), externs.back().fill(random, 0, 1);
    x.fill(random, -1, 1), dy.fill(random, -1, 1);
  }

  static Doubles wide(const Guarded& g) { return Doubles(g.p(), g.p() + g.size()); }
  static void append(Numbers& to, const Guarded& g) { to.push_back(g.address()), to.push_back((int64_t)g.size()); }

  // In double precision -----------------------------------------------------------------------------------------------

  Tensors inputs() const {  // all that has a gradient: weights, vectors, x, initial states
    Tensors all;
    for (const auto& w : weights) all.push_back(wide(w));
    for (const auto& v : vectors) all.push_back(wide(v));
    all.push_back(wide(x.floats));
    for (const auto& i : initial) all.push_back(shape.with_initial ? wide(i) : Doubles(i.size(), 0.0));
    return all;
  }
  void exact(const Tensors& in, Doubles& y, Tensors& final) const {
    size_t nw = weights.size(), nv = vectors.size(), ns = cell.states.size();
    Tensors w(in.begin(), in.begin() + nw), v(in.begin() + nw, in.begin() + nw + nv);
    const Doubles& xs = in[nw + nv];
    Tensors es;
    for (const Sequence& e : externs) es.push_back(wide(e.floats));
    y.assign(dy.floats.size(), NAN);
    final.assign(in.end() - ns, in.end());
    for (int q = 0; q < shape.count(); q++) {
      Tensors before(ns), after(ns);
      for (size_t f = 0; f < ns; f++) {
        auto from = final[f].begin() + (long)q * cell.states[f];
        before[f] = after[f] = Doubles(from, from + cell.states[f]);
      }
      for (int s = 0; s < shape.length[q]; s++) {
        int t = shape.start[q] + (shape.reverse ? shape.length[q] - 1 - s : s);
        const double* e[4] = {};
        for (size_t k = 0; k < es.size(); k++) e[k] = &es[k][externs[k].at(t, shape.entry[q])];
        cell.step(w, v, &xs[x.at(t, shape.entry[q])], e, before, after);
        std::copy(after[0].begin(), after[0].end(), y.begin() + dy.at(t, shape.entry[q]));
        std::swap(before, after);
      }
      for (size_t f = 0; f < ns; f++) std::copy(before[f].begin(), before[f].end(), final[f].begin() + (long)q * cell.states[f]);
    }
  }
  double loss(const Tensors& in) const {
    Doubles y;
    Tensors final;
    exact(in, y, final);
    double sum = 0;
    for (size_t i = 0; i < y.size(); i++)
      if (y[i] == y[i]) sum += y[i] * dy.floats[i];
    for (size_t f = 0; f < final.size() && shape.with_final; f++)
      for (size_t i = 0; i < final[f].size(); i++) sum += final[f][i] * d_final[f][i];
    return sum;
  }

  // Through the engine ------------------------------------------------------------------------------------------------

  struct Result {
    Sequence y;
    std::vector<Guarded> final;
    std::shared_ptr<unrolled::Saved> saved;
    explicit Result(const Problem& p) : y(p.shape, p.dy.row, UNTOUCHED) {
      for (const auto& f : p.d_final) final.emplace_back(f.size());
    }
  };
  Numbers addresses() const {
    Numbers all;
    for (const auto& w : weights) all.push_back(w.address());
    return all;
  }
  Result forward(const std::shared_ptr<unrolled::Executable>& executable, bool final = true, bool half = false) const {
    Result r(*this);
    Numbers a;
    x.append(a), r.y.append(a);
    for (const auto& e : externs) e.append(a);
    for (const auto& v : vectors) append(a, v);
    for (const auto& i : initial) a.push_back(shape.with_initial ? i.address() : 0);
    for (auto& f : r.final) a.push_back(final ? f.address() : 0);
    auto packs = executable->pack(addresses(), false, half);
    r.saved = executable->forward(shape.sequences(), *packs, a, shape.threads);
    return r;
  }
  // Gradients in the order of inputs(); `wanted` bit k: gradient k. What is accumulated starts as zero.
  std::vector<Guarded> backward(const unrolled::Saved& saved, uint32_t wanted = ~0u) const {
    std::vector<Guarded> g;
    for (const auto& w : weights) g.emplace_back(w.size(), 0.0f);
    for (const auto& v : vectors) g.emplace_back(v.size(), 0.0f);
    g.emplace_back(x.floats.size(), UNTOUCHED);
    for (const auto& i : initial) g.emplace_back(i.size());
    Numbers a;
    x.append(a), dy.append(a);
    size_t nv = weights.size() + vectors.size(), k = 0;
    auto address = [&](size_t i) { return wanted >> i & 1 ? g[i].address() : 0; };
    a.insert(a.end(), {address(nv), x.time, x.batch});
    if (!a[6]) a[7] = a[8] = 0;
    for (; k < nv; k++) a.push_back(address(k)), a.push_back((int64_t)g[k].size());
    for (const auto& f : d_final) a.push_back(shape.with_final ? f.address() : 0);
    for (k++; k < g.size(); k++) a.push_back(address(k));
    auto packs = saved.executable->pack(addresses(), true);
    saved.executable->backward(saved, *packs, a);
    return g;
  }

  void check(const Result& r, double most) const {
    Doubles y;
    Tensors final;
    exact(inputs(), y, final);
    CLOSE(r.y.floats, y, most);
    for (size_t f = 0; f < final.size(); f++) CLOSE(r.final[f], final[f], most);
  }
  void check_gradients(std::vector<Guarded>& g, Random& random, double most) const {
    const Tensors in = inputs();
    size_t nx = weights.size() + vectors.size();
    for (size_t k = 0; k < in.size(); k++) {
      CHECK(g[k].whole());
      for (int turn = 0; turn < 3 && in[k].size(); turn++) {
        // All elements; about a tenth of them; one.
        Doubles direction(in[k].size());
        size_t only = random.bits() % in[k].size();
        for (size_t i = 0; i < direction.size(); i++) {
          bool part = turn == 0 || (turn == 1 && !random.integer(0, 9)) || i == only;
          direction[i] = part ? (random.integer(0, 1) ? 1 : -1) * (0.5 + (i % 7) / 7.0) : 0;
        }
        const double h = 1e-4;
        Tensors up = in, down = in;
        double got = 0, squares = 0, length = 0;
        for (size_t i = 0; i < direction.size(); i++) {
          up[k][i] += h * direction[i], down[k][i] -= h * direction[i];
          float gi = k == nx && g[k][i] == UNTOUCHED ? 0.0f : g[k][i];
          got += gi * direction[i], squares += (double)gi * gi, length += direction[i] * direction[i];
        }
        double wanted = (loss(up) - loss(down)) / (2 * h);
        double allowed = most * (std::sqrt(squares * length / direction.size()) + std::fabs(wanted) + 1e-2);
        if (!(std::fabs(got - wanted) <= allowed)) {
          std::fprintf(stderr, "%s (%s): gradient %zu, turn %d: %.9g, not %.9g\n", cell.name, unrolled::isa().name, k,
                       turn, got, wanted);
          std::abort();
        }
      }
    }
  }
  // Inference and training forward, backward.
  void check_all(Random& random) const {
    auto inference = std::make_shared<unrolled::Executable>(cell.inference.ints, cell.inference.floats, cell.input);
    auto training = std::make_shared<unrolled::Executable>(cell.training.ints, cell.training.floats, cell.input);
    check(forward(inference), 1e-5);
    Result r = forward(training);
    check(r, 1e-5);
    CHECK(r.saved->bytes() > 0 || shape.count() == 0);
    std::vector<Guarded> g = backward(*r.saved);
    check_gradients(g, random, 1e-4);
  }
};
