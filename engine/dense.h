// Dense layers on the packed products: y = x W^T + b, its gradients, and the cross-entropy of such a layer over a
// large vocabulary without ever holding [rows, V].
#pragma once
#include "gemm.h"
#include "pointwise.h"
#include "problem.h"

namespace unrolled {
namespace UNROLLED_ISA {

INLINE long odd(long rows) { return rows | 1; }
INLINE int panels_of(int units) { return (units + NB - 1) / NB; }

// Rows [n, units] (row `stride` floats apart) into blocks.
static void block_rows(const float* x, long stride, int n, int units, float* plane, long block) {
  for (int r = 0; r < n; r++) {
    const float* s = x + r * stride;
    float* d = plane + (long)r * NB;
    int k = units;
    for (; k >= NB; k -= NB, s += NB, d += block) {
      store(d, load(s));
      store(d + W, load(s + W));
    }
    for (int i = 0; i < k; i++) d[i] = s[i];
    for (int i = k; k && i < NB; i++) d[i] = 0.0f;
  }
}

// One panel of c = bias + A B.
static void multiply_panel(int rows, int inner, const float* a, long a_block, const float* packed, int panel, float* c,
                           long c_row, const float* bias, bool half) {
  long stride = (long)inner * NB;
  Segment segment = {a, a_block, inner};
  Target target = {c, bias, 0};
  multiply_long(rows, 1, half ? 0 : 1, &segment, 1, packed + panel * stride, stride, &target, c_row);
}

static void linear_work(void* data, const Team& team) {
  const Dense& d = *(const Dense*)data;
  float* space = d.space + d.space_size * (team.size > 1 ? team.id : 0);
  int panels = panels_of(d.outer);
  float* edge = space;                           // [DENSE_ROWS, NB]
  float* plane = space + DENSE_ROWS * NB;
  long block = odd(DENSE_ROWS) * NB;
  long from = d.rows * team.id / team.size, end = d.rows * (team.id + 1) / team.size;
  for (long r0 = from; r0 < end; r0 += DENSE_ROWS) {
    int n = (int)smaller((long)DENSE_ROWS, end - r0);
    block_rows(d.x + r0 * d.x_row, d.x_row, n, d.inner, plane, block);
    for (int p = 0; p < panels; p++) {
      int lanes = smaller(NB, d.outer - p * NB);
      bool direct = lanes == NB;
      float* c = direct ? d.y + r0 * d.y_row + p * NB : edge;
      multiply_panel(n, d.inner, plane, block, d.packed, p, c, direct ? d.y_row : NB,
                    d.bias ? d.bias + p * NB : nullptr, lanes <= W);
      if (!direct)
        for (int r = 0; r < n; r++) memcpy(d.y + (r0 + r) * d.y_row + p * NB, edge + r * NB, sizeof(float) * lanes);
    }
  }
}

// dw [outer, inner] += y^T x and db += the sums of y's columns, where y [rows, outer] and x [rows, inner].
static void linear_weight_work(void* data, const Team& team) {
  const Dense& d = *(const Dense*)data;
  int outs = panels_of(d.outer), ins = panels_of(d.inner);
  long block = odd(DENSE_ROWS * 2) * NB;
  float* yp = d.space;                     // shared: each member packs rows of its own
  float* xp = d.space + outs * block;
  int j0 = outs * team.id / team.size, j1 = outs * (team.id + 1) / team.size;
  for (long r0 = 0; r0 < d.rows; r0 += DENSE_ROWS * 2) {
    int n = (int)smaller((long)DENSE_ROWS * 2, d.rows - r0);
    int a = n * team.id / team.size, b = n * (team.id + 1) / team.size;
    block_rows(d.y + (r0 + a) * d.y_row, d.y_row, b - a, d.outer, yp + (long)a * NB, block);
    block_rows(d.x + (r0 + a) * d.x_row, d.x_row, b - a, d.inner, xp + (long)a * NB, block);
    team.sync();
    for (int jb = j0; jb < j1; jb += 8)
      for (int i = 0; i < ins; i++)
        for (int j = jb; j < smaller(j1, jb + 8); j++)
          if (d.d_weight)
            outer_block(n, yp + j * block, xp + i * block, d.d_weight + (long)j * NB * d.inner + i * NB, d.inner,
                        smaller(NB, d.outer - j * NB), smaller(NB, d.inner - i * NB));
    if (d.d_bias)
      for (int j = j0; j < j1; j++) {
        float sum[NB] __attribute__((aligned(64))) = {0};
        Register to = {sum, 0, 0}, of = {yp + j * block, 0, NB};
        accumulate<false>(to, of, of, 1, n);
        for (int k = 0; k < smaller(NB, d.outer - j * NB); k++) d.d_bias[j * NB + k] += sum[k];
      }
    team.sync();
  }
}

// The sum of the lanes, or their largest.
INLINE float lanes_sum(VR a, VR b) {
  VR s = a + b;
  double sum = 0;
  for (int i = 0; i < W; i++) sum += s[i];
  return (float)sum;
}
INLINE float lanes_most(VR a) {
  float most = a[0];
  bool nan = false;
  for (int i = 0; i < W; i++) {
    nan |= a[i] != a[i];
    if (a[i] > most) most = a[i];
  }
  return nan ? __builtin_nanf("") : most;
}

// The sum of z - shift over a row's first `outer` numbers z in its blocks j0..j1.
INLINE float sum_of_row(const float* row, long block, int j0, int j1, int outer, float shift) {
  VR by = splat(shift), s0 = VR{}, s1 = VR{};
  float rest = 0;
  for (int j = j0; j < j1; j++) {
    const float* c = row + j * block;
    int lanes = outer - j * NB;
    if (lanes >= NB) {
      s0 = s0 + (load(c) - by);
      s1 = s1 + (load(c + W) - by);
    } else {
      for (int i = 0; i < lanes; i++) rest += c[i] - shift;
    }
  }
  return lanes_sum(s0, s1) + rest;
}

// The loss of logits z of target y, with smoothing e: log sum exp z - (1 - e) z_y - e mean z.
// One chunk's cross-entropy; each member has the panels j0..j1. `shared`: [3, team, rows] numbers.
static void cross_entropy_chunk(const Dense& d, const Team& team, long r0, int n, float* logits, float* hp, long block,
                                float* shared) {
  int panels = panels_of(d.outer), ins = panels_of(d.inner);
  int j0 = panels * team.id / team.size, j1 = panels * (team.id + 1) / team.size;
  int a = n * team.id / team.size, b = n * (team.id + 1) / team.size;
  block_rows(d.x + (r0 + a) * d.x_row, d.x_row, b - a, d.inner, hp + (long)a * NB, block);
  team.sync();
  int tail = d.outer - (panels - 1) * NB;  // lanes of the last panel
  for (int j = j0; j < j1; j++) {
    float* c = logits + j * block;
    multiply_panel(n, d.inner, hp, block, d.packed, j, c, NB, d.bias ? d.bias + j * NB : nullptr, false);
    if (j == panels - 1)
      for (int r = 0; r < n; r++)
        for (int i = tail; i < NB; i++) c[r * NB + i] = -__builtin_inff();
  }
  float* most = shared;
  float* sums = shared + team.size * DENSE_ROWS;
  float* totals = sums + team.size * DENSE_ROWS;  // of the logits less the largest
  float kept = 1.0f - d.smoothing, spread = d.smoothing / d.outer;
  for (int r = 0; r < n; r++) {
    VR m = splat(-__builtin_inff());
    const float* c = logits + j0 * block + (long)r * NB;
    for (int j = j0; j < j1; j++, c += block) m = maximum(m, maximum(load(c), load(c + W)));
    most[team.id * DENSE_ROWS + r] = lanes_most(m);
  }
  team.sync();
  for (int r = 0; r < n; r++) {
    float m = most[r];
    for (int t = 1; t < team.size; t++) {
      float other = most[t * DENSE_ROWS + r];
      m = other > m || other != other ? other : m;
    }
    if (d.targets[r0 + r] >= 0) {  // its logit, before exponentials replace it
      int t = (int)d.targets[r0 + r];
      if (t / NB >= j0 && t / NB < j1) d.losses[r0 + r] = kept * (m - logits[t / NB * block + (long)r * NB + t % NB]);
    }
    if (d.smoothing)
      totals[team.id * DENSE_ROWS + r] = sum_of_row(logits + (long)r * NB, block, j0, j1, d.outer, m);
    VR shift = splat(m), s0 = VR{}, s1 = VR{};
    float* c = logits + j0 * block + (long)r * NB;
    for (int j = j0; j < j1; j++, c += block) {
      VR e0 = exp(load(c) - shift), e1 = exp(load(c + W) - shift);
      store(c, e0);
      store(c + W, e1);
      s0 = s0 + e0;
      s1 = s1 + e1;
    }
    sums[team.id * DENSE_ROWS + r] = lanes_sum(s0, s1);
  }
  team.sync();
  for (int r = 0; r < n; r++) {
    float sum = 0;
    for (int t = 0; t < team.size; t++) sum += sums[t * DENSE_ROWS + r];
    long target = d.targets[r0 + r];
    if (team.id == 0) {
      float total = 0;
      for (int t = 0; d.smoothing && t < team.size; t++) total += totals[t * DENSE_ROWS + r];
      if (target >= 0) d.losses[r0 + r] += __builtin_logf(sum) - spread * total;
      else d.losses[r0 + r] = 0.0f;
    }
    if (!d.y) continue;
    VR scale_by = splat(1.0f / sum), less = splat(spread);
    bool counts = target >= 0;  // else zeros, even where logits overflowed
    float* c = logits + j0 * block + (long)r * NB;
    for (int j = j0; j < j1; j++, c += block) {
      store(c, counts ? load(c) * scale_by - less : VR{});
      store(c + W, counts ? load(c + W) * scale_by - less : VR{});
    }
    if (j1 == panels)
      for (int i = tail; i < NB; i++) logits[(panels - 1) * block + (long)r * NB + i] = 0.0f;
    if (target >= 0 && target / NB >= j0 && target / NB < j1)
      logits[target / NB * block + (long)r * NB + target % NB] -= kept;
  }
  team.sync();
  if (!d.y) return;
  for (int jb = j0; d.d_weight && jb < j1; jb += 8)
    for (int i = 0; i < ins; i++)
      for (int j = jb; j < smaller(j1, jb + 8); j++)
        outer_block(n, logits + j * block, hp + i * block, d.d_weight + (long)j * NB * d.inner + i * NB, d.inner,
                    smaller(NB, d.outer - j * NB), smaller(NB, d.inner - i * NB));
  if (d.d_bias)
    for (int j = j0; j < j1; j++) {
      float sum[NB] __attribute__((aligned(64))) = {0};
      Register to = {sum, 0, 0}, of = {logits + j * block, 0, NB};
      accumulate<false>(to, of, of, 1, n);
      for (int k = 0; k < smaller(NB, d.outer - j * NB); k++) d.d_bias[j * NB + k] += sum[k];
    }
  float edge[DENSE_ROWS * NB] __attribute__((aligned(64)));
  int i0 = ins * team.id / team.size, i1 = ins * (team.id + 1) / team.size;
  for (int i = i0; i < i1; i++) {
    int lanes = smaller(NB, d.inner - i * NB);
    multiply_panel(n, d.outer, logits, block, d.packed_back, i, edge, NB, nullptr, lanes <= W);
    for (int r = 0; r < n; r++) memcpy(d.y + (r0 + r) * d.y_row + i * NB, edge + r * NB, sizeof(float) * lanes);
  }
  team.sync();
}

static void cross_entropy_work(void* data, const Team& team) {
  const Dense& d = *(const Dense*)data;
  long block = odd(DENSE_ROWS) * NB;
  float* shared = d.space;
  float* hp = shared + 3 * team.size * DENSE_ROWS;
  float* logits = hp + panels_of(d.inner) * block;
  for (long r0 = 0; r0 < d.rows; r0 += DENSE_ROWS)
    cross_entropy_chunk(d, team, r0, (int)smaller((long)DENSE_ROWS, d.rows - r0), logits, hp, block, shared);
}

static void dense(Dense& d) {
  static const Work work[] = {linear_work, linear_weight_work, cross_entropy_work};
  run_together(d.threads, work[d.what], &d);
}

}  // namespace UNROLLED_ISA
}  // namespace unrolled
