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

template <class Weight>  // float, or Half
using Kernel = void (*)(const Segment*, int, long, const Weight*, long, Target*, long, long);

#define UNROLL _Pragma("GCC unroll 32")

INLINE void prefetch(const float* b, int k, int odd, int h) { __builtin_prefetch(b + (k + odd) * NB + h * W); }
INLINE void prefetch(const Half* b, int k, int odd, int h) {
  if (!odd) __builtin_prefetch(b + k * NB + h * 2 * W);
}

// Terms of one sum: of so many a panel stays in the first cache (or close to it) from one tile of rows to the next.
constexpr int TERMS = NB == 16 ? 384 : 512;
constexpr int SEGMENTS = 64;

template <class Weight, int M, int P, int H>  // rows, panels, vectors of each panel (2; 1 for a half)
__attribute__((noinline)) void kernel(const Segment* segments, int count, long row, const Weight* b, long panel,
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
#define UNROLLED_STEP(k, odd)                                                                    \
  {                                                                                               \
    VR bv[P * H], av[M];                                                                          \
    if (!ROWS_FIRST) UNROLL for (int m = 0; m < M; m++) av[m] = splat(a[m * NB + (k) + odd]);     \
    UNROLL for (int p = 0; p < P; p++) UNROLL for (int h = 0; h < H; h++) {                       \
      const int j = p * H + h;                                                                    \
      bv[j] = weights(b + p * panel, k, odd, h);                                                  \
      if (M >= 4 && h * W % 16 == 0) prefetch(b + p * panel, (k) + 16, odd, h);                   \
      if (!ROWS_FIRST) UNROLL for (int m = 0; m < M; m++) acc[m][j] = av[m] * bv[j] + acc[m][j];  \
    }                                                                                             \
    if (ROWS_FIRST) UNROLL for (int m = 0; m < M; m++) {                                          \
      av[m] = splat(a[m * NB + (k) + odd]);                                                       \
      UNROLL for (int j = 0; j < P * H; j++) acc[m][j] = av[m] * bv[j] + acc[m][j];               \
    }                                                                                             \
  }
  for (int s = 0; s < count; s++) {
    const float* a = segments[s].p + row;
    int k = segments[s].k;
    for (; k >= NB; k -= NB) {
      _Pragma("GCC unroll 2") for (int i = 0; i < NB; i += 2) {
        UNROLLED_STEP(i, 0);
        UNROLLED_STEP(i, 1);
      }
      a += segments[s].stride;
      b += NB * NB;
    }
    int i = 0;
    for (; i + 1 < k; i += 2) {
      UNROLLED_STEP(i, 0);
      UNROLLED_STEP(i, 1);
    }
    if (i < k) UNROLLED_STEP(i, 0);
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
template <class Weight, int H>
__attribute__((noinline)) void kernel_row(const Segment* segments, int count, long row, const Weight* b, long,
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
          UNROLL for (int h = 0; h < H; h++) acc[u][h] = av * weights(b, i + u / 2 * 2, u % 2, h) + acc[u][h];
        }
      }
      a += segments[s].stride;
      b += NB * NB;
    }
    for (int i = 0; i < k; i++) {
      VR av = splat(a[i]);
      UNROLL for (int h = 0; h < H; h++) acc[0][h] = av * weights(b, i / 2 * 2, i % 2, h) + acc[0][h];
    }
    b += k * NB;
  }
  UNROLL for (int h = 0; h < H; h++)
      store(out->c + m0 * c_row + h * W, (acc[0][h] + acc[1][h]) + (acc[2][h] + acc[3][h]));
}

// Kernels by their rows.
template <class Weight>
struct Kernels {
#if UNROLLED_WIDTH == 16 && defined(__AVX512F__)
#define UNROLLED_ROWS(H)                                                                                          \
  nullptr, kernel_row<Weight, H>, kernel<Weight, 2, 1, H>, kernel<Weight, 3, 1, H>, kernel<Weight, 4, 1, H>,      \
      kernel<Weight, 5, 1, H>, kernel<Weight, 6, 1, H>, kernel<Weight, 7, 1, H>, kernel<Weight, 8, 1, H>,         \
      kernel<Weight, 9, 1, H>, kernel<Weight, 10, 1, H>, kernel<Weight, 11, 1, H>, kernel<Weight, 12, 1, H>,      \
      kernel<Weight, 13, 1, H>, kernel<Weight, 14, 1, H>
  static constexpr Kernel<Weight> PAIR[] = {nullptr, kernel<Weight, 1, 2, 2>, kernel<Weight, 2, 2, 2>,
                                            kernel<Weight, 3, 2, 2>, kernel<Weight, 4, 2, 2>,
                                            kernel<Weight, 5, 2, 2>, kernel<Weight, 6, 2, 2>};
  static constexpr Kernel<Weight> FOUR[] = {nullptr, kernel<Weight, 1, 4, 2>, kernel<Weight, 2, 4, 2>,
                                            kernel<Weight, 3, 4, 2>};
#else
#define UNROLLED_ROWS(H)                                                                                     \
  nullptr, kernel_row<Weight, H>, kernel<Weight, 2, 1, H>, kernel<Weight, 3, 1, H>, kernel<Weight, 4, 1, H>, \
      kernel<Weight, 5, 1, H>, kernel<Weight, 6, 1, H>
  static constexpr Kernel<Weight> PAIR[] = {nullptr, kernel<Weight, 1, 2, 2>, kernel<Weight, 2, 2, 2>,
                                            kernel<Weight, 3, 2, 2>};
  static constexpr Kernel<Weight> FOUR[] = {nullptr, kernel<Weight, 1, 4, 2>};
#endif
  static constexpr Kernel<Weight> FULL[] = {UNROLLED_ROWS(2)};
  static constexpr Kernel<Weight> HALF[] = {UNROLLED_ROWS(1)};
#undef UNROLLED_ROWS
};

INLINE int smaller(int a, int b) { return a < b ? a : b; }
INLINE long smaller(long a, long b) { return a < b ? a : b; }
INLINE int larger(int a, int b) { return a > b ? a : b; }

// M rows times `panels` panels; those from `half_from` on are halves. `row`: floats to the first row in the planes.
template <class Weight>
static void multiply(int m, int panels, int half_from, const Segment* segments, int count, long row, const Weight* b,
                     long panel, Target* out, long c_row) {
  typedef Kernels<Weight> K;
  int together = m == 1 ? 1 : m <= ROWS_4 ? 4 : m <= ROWS_2 ? 2 : 1;
  int tiles = (m + ROWS_1 - 1) / ROWS_1;
  for (int p = 0; p < panels;) {
    int n = together;
    while (n > 1 && (n > panels - p || p + n > half_from)) n >>= 1;
    const Kernel<Weight>* table = n == 4 ? K::FOUR : n == 2 ? K::PAIR : p >= half_from ? K::HALF : K::FULL;
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
template <class Weight>
static void multiply_long(int m, int panels, int half_from, const Segment* segments, int count, const Weight* b,
                          long panel, Target* out, long c_row) {
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

INLINE uint32_t rounded(float x) {  // to bfloat16: to nearest, ties to even
  uint32_t word;
  memcpy(&word, &x, 4);
  bool nan = (word & 0x7fffffff) > 0x7f800000;
  return (nan ? word | 0x00400000 : word + 0x7fff + (word >> 16 & 1)) >> 16;
}

// Packed panels as bfloat16, two lines in one; a last odd line beside zeros.
static void pack_half(const float* s, Half* out, long panels, int inner) {
  uint32_t* d = (uint32_t*)out;
  for (long p = 0; p < panels; p++, s += (long)inner * NB)
    for (int k = 0; k < inner; k += 2, d += NB)
      for (int i = 0; i < NB; i++) {
        uint32_t odd = k + 1 < inner ? rounded(s[(k + 1) * NB + i]) : 0;
        d[i] = odd << 16 | rounded(s[k * NB + i]);
      }
}

}  // namespace UNROLLED_ISA
}  // namespace unrolled
