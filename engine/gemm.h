// Packed products: C[M rows, panels of NB columns] = init + A[M rows, K] B[K, panels].
//
// A lies in blocked planes (segments of up to NB k-values for all rows), B in panels of NB columns, k after k.
// The micro-kernels keep M x panels accumulators in registers: at most 6 x 2 vectors of 16 registers, 14 x 2 of
// 32. One row splits the sum over k instead. A panel whose second vector holds no unit is computed by halves.
#pragma once
#include "simd.h"

namespace unrolled {
namespace UNROLLED_ISA {

#if UNROLLED_WIDTH == 16 && defined(__AVX512F__)
constexpr int REGISTERS = 32;
constexpr int ROWS_1 = 14, ROWS_2 = 6, ROWS_4 = 3;  // most rows with 1, 2, 4 panels at once
#else
constexpr int REGISTERS = 16;
constexpr int ROWS_1 = 6, ROWS_2 = 3, ROWS_4 = 1;
#endif

// K values of the rows of one plane: block after block, `stride` floats apart.
struct Segment {
  const float* p;
  long stride;
  int k;
};

struct Target {   // one panel of the result
  float* c;
  const float* init;  // null: zero
  long init_row;      // floats between rows of init; 0 repeats one row (a bias)
};

typedef void (*Kernel)(const Segment*, int, long, const float*, long, Target*, long, long);

#define UNROLL _Pragma("GCC unroll 32")

// Terms of one sum: of so many a panel stays in the first cache (or close to it) from one tile of rows to the next.
constexpr int TERMS = NB == 16 ? 384 : 512;
constexpr int SEGMENTS = 64;

template <int M, int P, int H>  // rows, panels, vectors of each panel (2; 1 for a half)
__attribute__((noinline)) void kernel(const Segment* segments, int count, long row, const float* b, long panel,
                                      Target* out, long c_row, long m0) {
  VR acc[M][P * H];
  UNROLL for (int p = 0; p < P; p++) {
    if (out[p].init) {
      const float* c = out[p].init + m0 * out[p].init_row;
      UNROLL for (int m = 0; m < M; m++) UNROLL for (int h = 0; h < H; h++)
          acc[m][p * H + h] = load(c + m * out[p].init_row + h * W);
    } else {
      UNROLL for (int m = 0; m < M; m++) UNROLL for (int h = 0; h < H; h++) acc[m][p * H + h] = VR{};
    }
  }
  // Rows first; where a whole line of B beside the sums would not fit the registers, columns first.
  constexpr bool ROWS_FIRST = M * P * H + P * H < REGISTERS;
#define UNROLLED_STEP(k)                                                                          \
  {                                                                                               \
    VR bv[P * H], av[M];                                                                          \
    if (!ROWS_FIRST) UNROLL for (int m = 0; m < M; m++) av[m] = splat(a[m * NB + (k)]);           \
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int h = 0; h < H; h++) {                       \
      const int j = p * H + h;                                                                    \
      bv[j] = load(b + p * panel + (k)*NB + h * W);                                               \
      if (M >= 4 && h * W % 16 == 0) __builtin_prefetch(b + p * panel + ((k) + 16) * NB + h * W); \
      if (!ROWS_FIRST) UNROLL for (int m = 0; m < M; m++) acc[m][j] = av[m] * bv[j] + acc[m][j];  \
    }                                                                                             \
    if (ROWS_FIRST) UNROLL for (int m = 0; m < M; m++) {                                          \
      av[m] = splat(a[m * NB + (k)]);                                                             \
      UNROLL for (int j = 0; j < P * H; j++) acc[m][j] = av[m] * bv[j] + acc[m][j];               \
    }                                                                                             \
  }
  for (int s = 0; s < count; s++) {
    const float* a = segments[s].p + row;
    int k = segments[s].k;
    for (; k >= NB; k -= NB) {
      _Pragma("GCC unroll 4") for (int i = 0; i < NB; i++) UNROLLED_STEP(i);
      a += segments[s].stride;
      b += NB * NB;
    }
    for (int i = 0; i < k; i++) UNROLLED_STEP(i);
    b += k * NB;
  }
#undef UNROLLED_STEP
  UNROLL for (int p = 0; p < P; p++) {
    float* c = out[p].c + m0 * c_row;
    UNROLL for (int m = 0; m < M; m++) UNROLL for (int h = 0; h < H; h++)
        store(c + m * c_row + h * W, acc[m][p * H + h]);
  }
}

// One row, one panel: four sums over every fourth k hide the latency of the additions.
template <int H>
__attribute__((noinline)) void kernel_row(const Segment* segments, int count, long row, const float* b, long,
                                          Target* out, long c_row, long m0) {
  VR acc[4][H];
  UNROLL for (int u = 0; u < 4; u++) UNROLL for (int h = 0; h < H; h++) acc[u][h] = VR{};
  if (out->init) UNROLL for (int h = 0; h < H; h++) acc[0][h] = load(out->init + m0 * out->init_row + h * W);
  for (int s = 0; s < count; s++) {
    const float* a = segments[s].p + row;
    int k = segments[s].k;
    for (; k >= NB; k -= NB) {
      _Pragma("GCC unroll 2") for (int i = 0; i < NB; i += 4) {
        UNROLL for (int u = 0; u < 4; u++) {
          VR av = splat(a[i + u]);
          UNROLL for (int h = 0; h < H; h++) acc[u][h] = av * load(b + (i + u) * NB + h * W) + acc[u][h];
        }
      }
      a += segments[s].stride;
      b += NB * NB;
    }
    for (int i = 0; i < k; i++) {
      VR av = splat(a[i]);
      UNROLL for (int h = 0; h < H; h++) acc[0][h] = av * load(b + i * NB + h * W) + acc[0][h];
    }
    b += k * NB;
  }
  UNROLL for (int h = 0; h < H; h++)
      store(out->c + m0 * c_row + h * W, (acc[0][h] + acc[1][h]) + (acc[2][h] + acc[3][h]));
}

#if UNROLLED_WIDTH == 16 && defined(__AVX512F__)
#define UNROLLED_ROWS(P, H)                                                                            \
  kernel<2, P, H>, kernel<3, P, H>, kernel<4, P, H>, kernel<5, P, H>, kernel<6, P, H>, kernel<7, P, H>, \
      kernel<8, P, H>, kernel<9, P, H>, kernel<10, P, H>, kernel<11, P, H>, kernel<12, P, H>,          \
      kernel<13, P, H>, kernel<14, P, H>
static const Kernel FULL[] = {nullptr, kernel_row<2>, UNROLLED_ROWS(1, 2)};
static const Kernel HALF[] = {nullptr, kernel_row<1>, UNROLLED_ROWS(1, 1)};
static const Kernel PAIR[] = {nullptr, kernel<1, 2, 2>, kernel<2, 2, 2>, kernel<3, 2, 2>,
                              kernel<4, 2, 2>, kernel<5, 2, 2>, kernel<6, 2, 2>};
static const Kernel FOUR[] = {nullptr, kernel<1, 4, 2>, kernel<2, 4, 2>, kernel<3, 4, 2>};
#undef UNROLLED_ROWS
#else
static const Kernel FULL[] = {nullptr, kernel_row<2>, kernel<2, 1, 2>, kernel<3, 1, 2>, kernel<4, 1, 2>,
                              kernel<5, 1, 2>, kernel<6, 1, 2>};
static const Kernel HALF[] = {nullptr, kernel_row<1>, kernel<2, 1, 1>, kernel<3, 1, 1>, kernel<4, 1, 1>,
                              kernel<5, 1, 1>, kernel<6, 1, 1>};
static const Kernel PAIR[] = {nullptr, kernel<1, 2, 2>, kernel<2, 2, 2>, kernel<3, 2, 2>};
static const Kernel FOUR[] = {nullptr, kernel<1, 4, 2>};
#endif

INLINE int smaller(int a, int b) { return a < b ? a : b; }
INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE int larger(int a, int b) { return a > b ? a : b; }

// M rows times `panels` panels; those from `half_from` on are halves. `row`: floats to the first row in the planes.
static void multiply(int m, int panels, int half_from, const Segment* segments, int count, long row, const float* b,
                     long panel, Target* out, long c_row) {
  int together = m == 1 ? 1 : m <= ROWS_4 ? 4 : m <= ROWS_2 ? 2 : 1;
  int tiles = (m + ROWS_1 - 1) / ROWS_1;
  for (int p = 0; p < panels;) {
    int n = together;
    while (n > 1 && (n > panels - p || p + n > half_from)) n >>= 1;
    const Kernel* table = n == 4 ? FOUR : n == 2 ? PAIR : p >= half_from ? HALF : FULL;
    int m0 = 0;
    for (int t = 0; t < tiles; t++) {
      int rows = (m - m0 + (tiles - t) - 1) / (tiles - t);
      table[rows](segments, count, row + (long)m0 * NB, b + p * panel, panel, out + p, c_row, m0);
      m0 += rows;
    }
    p += n;
  }
}

// The same, long sums cut into pieces of about TERMS that go over all panels and rows before the next piece does.
static void multiply_long(int m, int panels, int half_from, const Segment* segments, int count, const float* b, long panel,
                          Target* out, long c_row) {
  long total = 0;
  for (int i = 0; i < count; i++) total += segments[i].k;
  if (m <= ROWS_1 || total <= TERMS) {
    multiply(m, panels, half_from, segments, count, 0, b, panel, out, c_row);
    return;
  }
  Segment group[SEGMENTS];
  int members = 0, terms = 0;
  for (int i = 0; i < count; i++)
    for (int k = 0; k < segments[i].k; k += TERMS) {
      int n = smaller(TERMS, segments[i].k - k);
      if (members && terms + n > TERMS) {
        multiply(m, panels, half_from, group, members, 0, b, panel, out, c_row);
        b += (long)terms * NB;
        members = terms = 0;
        for (int p = 0; p < panels; p++) {  // go on from what is there
          out[p].init = out[p].c;
          out[p].init_row = c_row;
        }
      }
      group[members++] = {segments[i].p + (long)(k / NB) * segments[i].stride, segments[i].stride, n};
      terms += n;
    }
  multiply(m, panels, half_from, group, members, 0, b, panel, out, c_row);
}

// c[M rows of `stride`, P*NB] += a^T b over n rows: outer products of two planes' blocks, for weight gradients.
template <int M, int H>
__attribute__((noinline)) void outer_kernel(int n, const float* a, const float* b, float* c, long stride) {
  VR acc[M][H];
  UNROLL for (int m = 0; m < M; m++) UNROLL for (int h = 0; h < H; h++) acc[m][h] = VR{};
  _Pragma("GCC unroll 2") for (int r = 0; r < n; r++) {
    VR bv[H];
    UNROLL for (int h = 0; h < H; h++) bv[h] = load(b + r * NB + h * W);
    UNROLL for (int m = 0; m < M; m++) {
      VR av = splat(a[r * NB + m]);
      UNROLL for (int h = 0; h < H; h++) acc[m][h] = av * bv[h] + acc[m][h];
    }
  }
  UNROLL for (int m = 0; m < M; m++) UNROLL for (int h = 0; h < H; h++)
      store(c + m * stride + h * W, load(c + m * stride + h * W) + acc[m][h]);
}

typedef void (*OuterKernel)(int, const float*, const float*, float*, long);
#if UNROLLED_WIDTH == 16 && defined(__AVX512F__)
#define UNROLLED_OUTER(H)                                                                                         \
  {nullptr, outer_kernel<1, H>, outer_kernel<2, H>, outer_kernel<3, H>, outer_kernel<4, H>, outer_kernel<5, H>,   \
   outer_kernel<6, H>, outer_kernel<7, H>, outer_kernel<8, H>, outer_kernel<9, H>, outer_kernel<10, H>,           \
   outer_kernel<11, H>, outer_kernel<12, H>, outer_kernel<13, H>, outer_kernel<14, H>}
#else
#define UNROLLED_OUTER(H)                                                                                       \
  {nullptr, outer_kernel<1, H>, outer_kernel<2, H>, outer_kernel<3, H>, outer_kernel<4, H>, outer_kernel<5, H>, \
   outer_kernel<6, H>}
#endif
static const OuterKernel OUTER[3][ROWS_1 + 1] = {{nullptr}, UNROLLED_OUTER(1), UNROLLED_OUTER(2)};
#undef UNROLLED_OUTER

constexpr int OUTER_ROWS = 192;  // rows of one sum: two blocks of them fit the first cache

// One block of NB x NB (fewer at the edges: `rows` of the gradient, `columns` of the argument).
static void outer_block(long n, const float* a, const float* b, float* c, long stride, int rows, int columns) {
  float edge[NB * NB] __attribute__((aligned(64)));
  int h = columns > W ? 2 : 1;
  bool direct = columns == h * W;
  int tiles = (rows + ROWS_1 - 1) / ROWS_1;
  if (!direct) memset(edge, 0, sizeof edge);
  for (long r = 0; r < n; r += OUTER_ROWS) {
    int part = (int)smaller((long)OUTER_ROWS, n - r);
    int m0 = 0;
    for (int t = 0; t < tiles; t++) {
      int m = (rows - m0 + (tiles - t) - 1) / (tiles - t);
      float* to = direct ? c + m0 * stride : edge + m0 * NB;
      OUTER[h][m](part, a + r * NB + m0, b + r * NB, to, direct ? stride : NB);
      m0 += m;
    }
  }
  if (!direct)
    for (int m = 0; m < rows; m++)
      for (int j = 0; j < columns; j++) c[m * stride + j] += edge[m * NB + j];
}

// W [blocks of `units` rows, K] packed: panel (j, g) = rows j*NB.. of the g-th listed block, k after k. Lanes past the
// last unit are zero.
static void pack_rows(const float* w, const int* blocks, int count, int units, int k, float* out) {
  int panels = (units + NB - 1) / NB;
  for (int j = 0; j < panels; j++)
    for (int g = 0; g < count; g++) {
      const float* s = w + ((long)blocks[g] * units + j * NB) * k;
      int lanes = smaller(NB, units - j * NB);
      float* d = out + ((long)j * count + g) * k * NB;
      for (int k0 = 0; k0 < k; k0 += 16) {  // by pieces of a cache line of the source
        int kn = smaller(16, k - k0);
        for (int u = 0; u < lanes; u++) {
          const float* line = s + (long)u * k + k0;
          float* column = d + (long)k0 * NB + u;
          for (int i = 0; i < kn; i++) column[(long)i * NB] = line[i];
        }
        if (lanes < NB)
          for (int i = 0; i < kn; i++) memset(d + (long)(k0 + i) * NB + lanes, 0, sizeof(float) * (NB - lanes));
      }
    }
}

// The same weight transposed: panel p = columns p*NB.. of K, row after row of the listed blocks.
static void pack_columns(const float* w, const int* blocks, int count, int units, int k, float* out) {
  int panels = (k + NB - 1) / NB;
  long inner = (long)count * units;
  for (int p = 0; p < panels; p++) {
    int lanes = smaller(NB, k - p * NB);
    float* d = out + p * inner * NB;
    for (int g = 0; g < count; g++)
      for (int r = 0; r < units; r++, d += NB) {
        const float* s = w + ((long)blocks[g] * units + r) * k + p * NB;
        if (lanes == NB) {
          store(d, load(s));
          store(d + W, load(s + W));
        } else {
          for (int i = 0; i < NB; i++) d[i] = i < lanes ? s[i] : 0.0f;
        }
      }
  }
}

}  // namespace UNROLLED_ISA
}  // namespace unrolled
