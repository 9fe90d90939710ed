// The interpreter of pointwise programs: one instruction after another over a tile that stays in the first cache.
#pragma once
#include "plan.h"
#include "simd.h"

namespace unrolled {
namespace UNROLLED_ISA {

// A register of a program: `block` floats to the next block of units, `row` to the next row (0: the same for all).
struct Register {
  float* p;
  long block, row;
};

#define EACH_ROW(POINTERS, BODY)              \
  for (int j = 0; j < blocks; j++) {          \
    float* d = D.p + j * D.block;             \
    POINTERS;                                 \
    _Pragma("GCC unroll 2") for (int r = 0; r < rows; r++) { BODY; } \
  }

template <class F>
INLINE void unary(const Register& D, const Register& A, int blocks, int rows, F f) {
  EACH_ROW(const float* a = A.p + j * A.block,
           VR x0 = f(load(a)); VR x1 = f(load(a + W)); store(d, x0); store(d + W, x1);
           a += A.row; d += D.row)
}

template <class F>
INLINE void binary(const Register& D, const Register& A, const Register& B, int blocks, int rows, F f) {
  EACH_ROW(const float* a = A.p + j * A.block; const float* b = B.p + j * B.block,
           VR x0 = f(load(a), load(b)); VR x1 = f(load(a + W), load(b + W)); store(d, x0); store(d + W, x1);
           a += A.row; b += B.row; d += D.row)
}

template <class F>
INLINE void ternary(const Register& D, const Register& A, const Register& B, const Register& C, int blocks, int rows,
                    F f) {
  EACH_ROW(const float* a = A.p + j * A.block; const float* b = B.p + j * B.block; const float* c = C.p + j * C.block,
           VR x0 = f(load(a), load(b), load(c)); VR x1 = f(load(a + W), load(b + W), load(c + W));
           store(d, x0); store(d + W, x1);
           a += A.row; b += B.row; c += C.row; d += D.row)
}
#undef EACH_ROW

// d += the sum over rows of a (times b), each sum formed apart before it is added.
template <bool TIMES>
INLINE void accumulate(const Register& D, const Register& A, const Register& B, int blocks, int rows) {
  for (int j = 0; j < blocks; j++) {
    const float* a = A.p + j * A.block;
    const float* b = B.p + j * B.block;
    VR s0 = VR{}, s1 = VR{};
    for (int r = 0; r < rows; r++, a += A.row, b += B.row) {
      s0 = TIMES ? load(a) * load(b) + s0 : load(a) + s0;
      s1 = TIMES ? load(a + W) * load(b + W) + s1 : load(a + W) + s1;
    }
    float* d = D.p + j * D.block;
    store(d, load(d) + s0);
    store(d + W, load(d + W) + s1);
  }
}

__attribute__((noinline)) static void interpret(const Instruction* code, int count, const Register* reg, int blocks,
                                                int rows) {
  for (int i = 0; i < count; i++) {
    const Instruction n = code[i];
    const Register D = reg[n.d], A = reg[n.a], B = reg[n.b], C = reg[n.c];
    const VR k = splat(n.imm);
    const VR zero = VR{}, one = splat(1.0f);
#define U(E) unary(D, A, blocks, rows, [=](VR x) { return (E); }); break
#define B2(E) binary(D, A, B, blocks, rows, [=](VR x, VR y) { return (E); }); break
#define T3(E) ternary(D, A, B, C, blocks, rows, [=](VR x, VR y, VR z) { return (E); }); break
    switch (n.op) {
      case COPY: U(x);
      case ADD: B2(x + y);
      case SUB: B2(x - y);
      case MUL: B2(x * y);
      case DIV: B2(x / y);
      case FMA: T3(x * y + z);
      case FNMA: T3(z - x * y);
      case FMS: T3(x * y - z);
      case ADDC: U(x + k);
      case MULC: U(x * k);
      case RSUBC: U(k - x);
      case CONST: U(((void)x, k));
      case SIGMOID: U(sigmoid(x));
      case TANH: U(tanh(x));
      case RELU: U(select(x < zero, zero, x));
      case EXP: U(exp(x));
      case LOG: U(log(x));
      case LOG1P: U(log1p(x));
      case SQRT: U(square_root(x));
      case RSQRT: U(one / square_root(x));
      case ABS: U(absolute(x));
      case RECIP: U(one / x);
      case MAX: B2(maximum(x, y));
      case MIN: B2(minimum(x, y));
      case MAXC: U(select(x < k, k, x));
      case MINC: U(select(x > k, k, x));
      case LT: B2(truth(x < y));
      case LE: B2(truth(x <= y));
      case EQ: B2(truth(x == y));
      case LTC: U(truth(x < k));
      case LEC: U(truth(x <= k));
      case EQC: U(truth(x == k));
      case GTC: U(truth(x > k));
      case GEC: U(truth(x >= k));
      case WHERE: T3(select(x != zero, y, z));
      case DSIGMOID: B2(x * y * (one - y));
      case DTANH: B2(x - x * y * y);
      case DRELU: B2(select(y > zero, x, zero));
      case LERP: T3(z + x * (y - z));
      case SOFTPLUS: U(softplus(x));
      case NEG: U(-x);
      case DABS: B2(select(y > zero, x, select(y < zero, -x, zero)));
      case VECACC: accumulate<true>(D, A, B, blocks, rows); break;
      case VECSUM: accumulate<false>(D, A, A, blocks, rows); break;
    }
#undef U
#undef B2
#undef T3
  }
}

// One number per row out of a plane's units, repeated over the lanes of the ROW plane's only block.
static void reduce(int op, const Register& from, int units, const Register& to, int rows) {
  for (int r = 0; r < rows; r++) {
    const float* a = from.p + r * from.row;
    double sum = 0.0;
    float most = -__builtin_inff();
    bool nan = false;
    VR s0 = VR{}, s1 = VR{};
    int left = units;
    for (; left >= NB; left -= NB, a += from.block) {
      if (op == 2) {
        for (int i = 0; i < NB; i++) {
          nan |= a[i] != a[i];
          if (a[i] > most) most = a[i];
        }
      } else {
        s0 = s0 + load(a);
        s1 = s1 + load(a + W);
      }
    }
    for (int i = 0; i < left; i++) {
      nan |= a[i] != a[i];
      if (a[i] > most) most = a[i];
      sum += a[i];
    }
    for (int i = 0; i < W; i++) sum += (double)s0[i] + (double)s1[i];
    float value = op == 2 ? (nan ? __builtin_nanf("") : most) : (float)(op == 1 ? sum / units : sum);
    float* d = to.p + r * to.row;
    store(d, splat(value));
    store(d + W, splat(value));
  }
}

}  // namespace UNROLLED_ISA
}  // namespace unrolled
