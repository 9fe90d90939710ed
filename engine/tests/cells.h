// Four cells as plans written by hand, and one step of each in double precision.
//
//   lstm   four gates of one size
//   norm   a layer-normalised cell with a projection: two sizes, numbers per row, a tensor of the caller's (EXTERN),
//          gradients of vectors summed in place (VECGRAD), products with and without a bias
//   local  two gates and no product: units never meet
//   level  a state and an extern of one number per row
#pragma once
#include "encoding.h"

namespace cells {

using namespace unrolled;

inline Encoded lstm_plan(int H, bool training) {
  enum { I, F, G, O, HIDDEN, CELL, BIAS, TANH_C = BIAS + 8, DOUT, GRADS, CARRY_H = GRADS + 4, CARRY_C };
  Encoder e;
  std::vector<Ints> planes(4, {GATE, 0, -1, -1}), gates, outputs, grads;
  planes.insert(planes.end(), 2, {STATE, 0, -1, -1});
  for (int64_t k = 0; k < 8; k++) planes.push_back({VECTOR, 0, k / 4, k % 4});
  for (int64_t k = 0; k < 4; k++) {
    gates.push_back({k, 2, BIAS + k, BIAS + 4 + k});
    outputs.push_back({k, 0, 1, k, 0});
    grads.push_back({GRADS + k, 0});
  }
  if (training) {
    planes.push_back({SAVED, 0, -1, -1});
    planes.push_back({DY, 0, -1, -1});
    planes.insert(planes.end(), 4, {GRAD, 0, -1, -1});
    planes.push_back({CARRY, 0, 0, -1});
    planes.push_back({CARRY, 0, 1, -1});
  }
  Ints recurrent = Encoder::product(1, 0, 0, {0, 1, 2, 3}, {{HIDDEN, -1}}, outputs);
  std::vector<Ints> bindings{{I, 0}, {F, 0}, {G, 0}, {O, 0}, {CELL, -1}, {CELL, 0}, {HIDDEN, 0}};
  Ints forward, backward;
  if (!training) {
    forward = e.program(0, bindings, 2,
                        {{SIGMOID, 7, 0, 0, 0, 0}, {TANH, 8, 2, 2, 2, 0}, {MUL, 7, 7, 8, 7, 0}, {SIGMOID, 8, 1, 1, 1, 0},
                         {FMA, 5, 8, 4, 7, 0}, {TANH, 7, 5, 5, 5, 0}, {SIGMOID, 8, 3, 3, 3, 0}, {MUL, 6, 7, 8, 7, 0}});
  } else {
    bindings.push_back({TANH_C, 0});
    forward = e.program(0, bindings, 1,
                        {{SIGMOID, 0, 0, 0, 0, 0}, {SIGMOID, 1, 1, 1, 1, 0}, {TANH, 2, 2, 2, 2, 0},
                         {SIGMOID, 3, 3, 3, 3, 0}, {MUL, 8, 0, 2, 2, 0}, {FMA, 5, 1, 4, 8, 0}, {TANH, 7, 5, 5, 5, 0},
                         {MUL, 6, 3, 7, 7, 0}});
    bindings = {{I, 0}, {F, 0}, {G, 0}, {O, 0}, {CELL, -1}, {TANH_C, 0}, {DOUT, 0}, {CARRY_H, 0}, {CARRY_C, 0}};
    bindings.insert(bindings.end(), grads.begin(), grads.end());
    backward = e.program(0, bindings, 3,
                         {{ADD, 13, 6, 7, 7, 0}, {MUL, 14, 13, 3, 3, 0}, {DTANH, 14, 14, 5, 5, 0}, {ADD, 14, 14, 8, 8, 0},
                          {MUL, 15, 13, 5, 5, 0}, {DSIGMOID, 12, 15, 3, 3, 0}, {MUL, 15, 14, 2, 2, 0},
                          {DSIGMOID, 9, 15, 0, 0, 0}, {MUL, 15, 14, 4, 4, 0}, {DSIGMOID, 10, 15, 1, 1, 0},
                          {MUL, 15, 14, 0, 0, 0}, {DTANH, 11, 15, 2, 2, 0}, {MUL, 8, 14, 1, 1, 0}});
  }
  e.add({1, training, 1, H});
  e.add(Encoder::list(planes));
  e.add(Encoder::list(gates));
  e.add(Encoder::list({{HIDDEN, training ? CARRY_H : -1}, {CELL, training ? CARRY_C : -1}}));
  e.add({training ? DOUT : -1});
  e.add(Encoder::list({Encoder::stage({recurrent}, {}, {forward})}));
  if (!training) {
    e.add({0, 0, 0, 0});
    return e.made;
  }
  Ints back = Encoder::product(1, 1, 0, {0, 1, 2, 3}, grads, {{CARRY_H, 0, 0, -1, 0}});
  e.add(Encoder::list({Encoder::stage({}, {}, {backward}), Encoder::stage({back}, {}, {})}));
  e.add(Encoder::numbers({GRADS, GRADS + 1, GRADS + 2, GRADS + 3}));
  std::vector<Ints> weights, vectors;
  for (int64_t k = 0; k < 4; k++) weights.push_back({1, k, 0, GRADS + k, HIDDEN, -1});
  for (int64_t k = 0; k < 8; k++) vectors.push_back({k / 4, k % 4, GRADS + k % 4});
  e.add(Encoder::list(weights));
  e.add(Encoder::list(vectors));
  return e.made;
}

// a[m, n] @ x[n], added to y[m]
inline void times(const double* a, int m, int n, const double* x, double* y) {
  for (int i = 0; i < m; i++)
    for (int k = 0; k < n; k++) y[i] += a[(size_t)i * n + k] * x[k];
}

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

inline Cell lstm(int I, int H) {
  Cell c{"lstm", I, {4 * H * I, 4 * H * H}, {4 * H, 4 * H}, {}, {H, H}, lstm_plan(H, false), lstm_plan(H, true), {}};
  c.step = [I, H](const Tensors& w, const Tensors& v, const double* x, const double* const*, const Tensors& before,
                  Tensors& after) {
    Doubles z = v[0];
    for (int k = 0; k < 4 * H; k++) z[k] += v[1][k];
    times(w[0].data(), 4 * H, I, x, z.data());
    times(w[1].data(), 4 * H, H, before[0].data(), z.data());
    for (int k = 0; k < H; k++) {
      after[1][k] = sigmoid(z[H + k]) * before[1][k] + sigmoid(z[k]) * std::tanh(z[2 * H + k]);
      after[0][k] = sigmoid(z[3 * H + k]) * std::tanh(after[1][k]);
    }
  };
  return c;
}

// a = W_ih x + b + W_hh h + W_m m'; n = (a - mean) / sqrt(var + eps); v = tanh(n gamma + beta); m = m' e + v (1 - e);
// h = W_p m + b_p, with an extern e of m's size
inline Encoded norm_plan(int H, int O, bool training) {
  enum { A, HID, M, B_IH, GAMMA, BETA, B_P, E, MEAN, VAR, RSTD, CENTRED, SQUARE, NORMED, V, Q,
         DOUT, G_A, G_H, CARRY_H, CARRY_M, D_Q, D_N, D_NN, MEAN_1, MEAN_2, D_GAMMA, D_BETA };
  const int64_t kept = training ? SAVED : STEP;
  Encoder e;
  std::vector<Ints> planes{{GATE, 0, -1, -1}, {STATE, 1, -1, -1}, {STATE, 0, -1, -1}, {VECTOR, 0, 0, 0},
                           {VECTOR, 0, 1, 0}, {VECTOR, 0, 1, 1}, {VECTOR, 1, 2, 0}, {EXTERN, 0, 0, -1},
                           {STEP, -1, -1, -1}, {STEP, -1, -1, -1}, {kept, -1, -1, -1}, {STEP, 0, -1, -1},
                           {STEP, 0, -1, -1}, {kept, 0, -1, -1}, {kept, 0, -1, -1}, {kept, 0, -1, -1}};
  std::vector<Ints> forward{
      Encoder::stage({Encoder::product(1, 0, 0, {0}, {{HID, -1}}, {{A, 0, 1, A, 0}})}, {}, {}),
      Encoder::stage({Encoder::product(3, 0, 0, {0}, {{M, -1}}, {{A, 0, 1, A, 0}})}, {}, {}),
      Encoder::stage({}, {{1, A, 0, MEAN, 0}},
                     {e.program(0, {{A, 0}, {MEAN, 0}, {CENTRED, 0}, {SQUARE, 0}}, 0,
                                {{SUB, 2, 0, 1, 0, 0}, {MUL, 3, 2, 2, 0, 0}})}),
      Encoder::stage({}, {{0, SQUARE, 0, VAR, 0}},
                     {e.program(-1, {{VAR, 0}, {RSTD, 0}}, 1,
                                {{MULC, 2, 0, 0, 0, 1.0 / H}, {ADDC, 2, 2, 0, 0, 1e-3}, {RSQRT, 1, 2, 0, 0, 0}}),
                      e.program(0, {{CENTRED, 0}, {RSTD, 0}, {NORMED, 0}, {GAMMA, 0}, {BETA, 0}, {V, 0}, {M, -1}, {M, 0},
                                    {E, 0}, {Q, 0}}, 1,
                                {{MUL, 2, 0, 1, 0, 0}, {FMA, 10, 2, 3, 4, 0}, {TANH, 5, 10, 0, 0, 0},
                                 {LERP, 7, 8, 6, 5, 0}, {COPY, 9, 7, 0, 0, 0}})}),
      Encoder::stage({Encoder::product(2, 0, 1, {0}, {{Q, 0}}, {{HID, 0, 2, B_P, 0}})}, {}, {})};
  std::vector<Ints> backward;
  if (training) {
    const std::vector<Ints> more{{DY, 1, -1, -1}, {GRAD, 0, -1, -1}, {GRAD, 1, -1, -1}, {CARRY, 1, 0, -1},
                                 {CARRY, 0, 1, -1}, {BSTEP, 0, -1, -1}, {BSTEP, 0, -1, -1}, {BSTEP, 0, -1, -1},
                                 {BSTEP, -1, -1, -1}, {BSTEP, -1, -1, -1}, {VECGRAD, 0, 1, 0}, {VECGRAD, 0, 1, 1}};
    planes.insert(planes.end(), more.begin(), more.end());
    backward = {
        Encoder::stage({}, {}, {e.program(1, {{DOUT, 0}, {CARRY_H, 0}, {G_H, 0}}, 0, {{ADD, 2, 0, 1, 0, 0}})}),
        Encoder::stage({Encoder::product(2, 1, 1, {0}, {{G_H, 0}}, {{D_Q, 0, 0, -1, 0}})}, {},
                       {e.program(0, {{D_Q, 0}, {CARRY_M, 0}, {E, 0}, {V, 0}, {NORMED, 0}, {GAMMA, 0}, {D_N, 0}, {D_NN, 0},
                                      {D_GAMMA, 0}, {D_BETA, 0}}, 3,
                                  {{ADD, 10, 0, 1, 0, 0}, {MUL, 1, 10, 2, 0, 0}, {FNMA, 11, 10, 2, 10, 0},
                                   {DTANH, 11, 11, 3, 0, 0}, {VECACC, 8, 11, 4, 0, 0}, {VECSUM, 9, 11, 0, 0, 0},
                                   {MUL, 6, 11, 5, 0, 0}, {MUL, 7, 6, 4, 0, 0}})}),
        Encoder::stage({}, {{1, D_N, 0, MEAN_1, 0}, {1, D_NN, 0, MEAN_2, 0}},
                       {e.program(0, {{D_N, 0}, {MEAN_1, 0}, {NORMED, 0}, {MEAN_2, 0}, {RSTD, 0}, {G_A, 0}}, 1,
                                  {{SUB, 6, 0, 1, 0, 0}, {FNMA, 6, 2, 3, 6, 0}, {MUL, 5, 6, 4, 0, 0}})}),
        Encoder::stage({Encoder::product(1, 1, 0, {0}, {{G_A, 0}}, {{CARRY_H, 0, 0, -1, 0}}),
                        Encoder::product(3, 1, 0, {0}, {{G_A, 0}}, {{CARRY_M, 0, 1, CARRY_M, 0}})}, {}, {})};
  }
  e.add({1, training, 2, H, O});
  e.add(Encoder::list(planes));
  e.add(Encoder::list({{A, 1, B_IH}}));
  e.add(Encoder::list({{HID, training ? CARRY_H : -1}, {M, training ? CARRY_M : -1}}));
  e.add({training ? DOUT : -1});
  e.add(Encoder::list(forward));
  e.add(Encoder::list(backward));
  if (!training) {
    e.add({0, 0, 0});
    return e.made;
  }
  e.add({1, G_A});
  e.add(Encoder::list({{1, 0, 0, G_A, HID, -1}, {3, 0, 0, G_A, M, -1}, {2, 0, 1, G_H, Q, 0}}));
  e.add(Encoder::list({{0, 0, G_A}, {2, 0, G_H}}));
  return e.made;
}

inline Cell norm(int I, int H, int O) {
  Cell c{"norm", I, {H * I, H * O, O * H, H * H}, {H, 2 * H, O}, {H}, {O, H}, norm_plan(H, O, false), norm_plan(H, O, true), {}};
  c.step = [I, H, O](const Tensors& w, const Tensors& v, const double* x, const double* const* externs,
                     const Tensors& before, Tensors& after) {
    Doubles a = v[0];
    times(w[0].data(), H, I, x, a.data());
    times(w[1].data(), H, O, before[0].data(), a.data());
    times(w[3].data(), H, H, before[1].data(), a.data());
    double mean = 0, var = 0;
    for (double k : a) mean += k / H;
    for (double k : a) var += (k - mean) * (k - mean) / H;
    for (int k = 0; k < H; k++) {
      double n = (a[k] - mean) / std::sqrt(var + 1e-3), e = externs[0][k];
      after[1][k] = before[1][k] * e + std::tanh(n * v[1][k] + v[1][H + k]) * (1 - e);
    }
    after[0] = v[2];
    times(w[2].data(), O, H, after[1].data(), after[0].data());
  };
  return c;
}

// h = f h' + (1 - f) g with f = sigmoid(W_f x + b_f), g = W_g x + b_g
inline Encoded local_plan(int H, bool training) {
  enum { F, G, HIDDEN, BIAS, DOUT = BIAS + 2, G_F, G_G, CARRY_H };
  Encoder e;
  std::vector<Ints> planes{{GATE, 0, -1, -1}, {GATE, 0, -1, -1}, {STATE, 0, -1, -1}, {VECTOR, 0, 0, 0}, {VECTOR, 0, 0, 1}};
  Ints forward = e.program(0, {{F, 0}, {G, 0}, {HIDDEN, -1}, {HIDDEN, 0}}, 0,
                           {{SIGMOID, 0, 0, 0, 0, 0}, {LERP, 3, 0, 2, 1, 0}});
  std::vector<Ints> backward;
  if (training) {
    const std::vector<Ints> more{{DY, 0, -1, -1}, {GRAD, 0, -1, -1}, {GRAD, 0, -1, -1}, {CARRY, 0, 0, -1}};
    planes.insert(planes.end(), more.begin(), more.end());
    backward = {Encoder::stage({}, {}, {e.program(
        0, {{F, 0}, {G, 0}, {HIDDEN, -1}, {DOUT, 0}, {CARRY_H, 0}, {G_F, 0}, {G_G, 0}}, 2,
        {{ADD, 7, 3, 4, 0, 0}, {SUB, 8, 2, 1, 0, 0}, {MUL, 8, 8, 7, 0, 0}, {DSIGMOID, 5, 8, 0, 0, 0},
         {FNMA, 6, 7, 0, 7, 0}, {MUL, 4, 7, 0, 0, 0}})})};
  }
  e.add({1, training, 1, H});
  e.add(Encoder::list(planes));
  e.add(Encoder::list({{F, 1, BIAS}, {G, 1, BIAS + 1}}));
  e.add(Encoder::list({{HIDDEN, training ? CARRY_H : -1}}));
  e.add({training ? DOUT : -1});
  e.add(Encoder::list({Encoder::stage({}, {}, {forward})}));
  e.add(Encoder::list(backward));
  e.add(training ? Ints{2, G_F, G_G, 0, 2, 0, 0, G_F, 0, 1, G_G} : Ints{0, 0, 0});
  return e.made;
}

inline Cell local(int I, int H) {
  Cell c{"local", I, {2 * H * I}, {2 * H}, {}, {H}, local_plan(H, false), local_plan(H, true), {}};
  c.step = [I, H](const Tensors& w, const Tensors& v, const double* x, const double* const*, const Tensors& before,
                  Tensors& after) {
    Doubles z = v[0];
    times(w[0].data(), 2 * H, I, x, z.data());
    for (int k = 0; k < H; k++) {
      double f = sigmoid(z[k]);
      after[0][k] = f * before[0][k] + (1 - f) * z[H + k];
    }
  };
  return c;
}

// r = e r' + mean(a); h = tanh(a - r), with a = W x + b; r and the extern e are one number per row
inline Encoded level_plan(int H, bool training) {
  enum { A, HIDDEN, R, BIAS, E, MEAN, DOUT, G_A, CARRY_H, CARRY_R, D, SUM };
  Encoder e;
  std::vector<Ints> planes{{GATE, 0, -1, -1},   {STATE, 0, -1, -1}, {STATE, -1, -1, -1}, {VECTOR, 0, 0, 0},
                           {EXTERN, -1, 0, -1}, {STEP, -1, -1, -1}};
  Ints rows = e.program(-1, {{E, 0}, {R, -1}, {MEAN, 0}, {R, 0}}, 0, {{FMA, 3, 0, 1, 2, 0}});
  Ints units = e.program(0, {{A, 0}, {R, 0}, {HIDDEN, 0}}, 1, {{SUB, 3, 0, 1, 0, 0}, {TANH, 2, 3, 0, 0, 0}});
  std::vector<Ints> backward;
  if (training) {
    const std::vector<Ints> more{{DY, 0, -1, -1},     {GRAD, 0, -1, -1},  {CARRY, 0, 0, -1},
                                 {CARRY, -1, 1, -1},  {BSTEP, 0, -1, -1}, {BSTEP, -1, -1, -1}};
    planes.insert(planes.end(), more.begin(), more.end());
    backward = {Encoder::stage({}, {}, {e.program(0, {{DOUT, 0}, {CARRY_H, 0}, {HIDDEN, 0}, {D, 0}}, 1,
                                                  {{ADD, 4, 0, 1, 0, 0}, {DTANH, 3, 4, 2, 0, 0}, {CONST, 1, 1, 0, 0, 0}})})};
    Ints back_rows = e.program(-1, {{CARRY_R, 0}, {SUM, 0}, {E, 0}}, 0, {{SUB, 1, 0, 1, 0, 0}, {MUL, 0, 1, 2, 0, 0}});
    Ints back_units = e.program(0, {{D, 0}, {SUM, 0}, {G_A, 0}}, 1, {{MULC, 3, 1, 0, 0, 1.0 / H}, {ADD, 2, 0, 3, 0, 0}});
    backward.push_back(Encoder::stage({}, {{0, D, 0, SUM, 0}}, {back_rows, back_units}));
  }
  e.add({1, training, 1, H});
  e.add(Encoder::list(planes));
  e.add(Encoder::list({{A, 1, BIAS}}));
  e.add(Encoder::list({{HIDDEN, training ? CARRY_H : -1}, {R, training ? CARRY_R : -1}}));
  e.add({training ? DOUT : -1});
  e.add(Encoder::list({Encoder::stage({}, {{1, A, 0, MEAN, 0}}, {rows, units})}));
  e.add(Encoder::list(backward));
  e.add(training ? Ints{1, G_A, 0, 1, 0, 0, G_A} : Ints{0, 0, 0});
  return e.made;
}

inline Cell level(int I, int H) {
  Cell c{"level", I, {H * I}, {H}, {1}, {H, 1}, level_plan(H, false), level_plan(H, true), {}};
  c.step = [I, H](const Tensors& w, const Tensors& v, const double* x, const double* const* externs,
                  const Tensors& before, Tensors& after) {
    Doubles a = v[0];
    times(w[0].data(), H, I, x, a.data());
    after[1][0] = externs[0][0] * before[1][0];
    for (double k : a) after[1][0] += k / H;
    for (int k = 0; k < H; k++) after[0][k] = std::tanh(a[k] - after[1][0]);
  };
  return c;
}

}  // namespace cells
