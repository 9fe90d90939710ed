// Vectors of UNROLLED_WIDTH floats and the functions of the pointwise programs.
//
// Written with the compiler's vector extensions, so that one source serves every instruction set; only the
// approximate reciprocal has no portable spelling. Everything propagates NaN. Relative errors, measured against
// double precision by engine/tests: exp, sigmoid, tanh, log <= 4e-7.
#pragma once
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace unrolled {
namespace UNROLLED_ISA {

constexpr int W = UNROLLED_WIDTH;
constexpr int NB = 2 * W;  // units of one block, floats of one row of a plane

typedef float V __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t VI __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef float VR __attribute__((vector_size(4 * W)));  // in registers

INLINE VR load(const float* p) { return *(const V*)p; }
INLINE void store(float* p, VR v) { *(V*)p = v; }

// bfloat16, the upper half of a float. Two lines of weights lie in one line of words: the first in the lower halves.
struct Half { uint16_t bits; };
typedef uint32_t VU __attribute__((vector_size(4 * W), aligned(4), may_alias));

// Vector h of line k + odd of a panel; k is even.
INLINE VR weights(const float* b, int k, int odd, int h) { return load(b + (k + odd) * NB + h * W); }
INLINE VR weights(const Half* b, int k, int odd, int h) {
  VU words = *(const VU*)(b + k * NB + h * 2 * W);
  return (VR)(odd ? words & 0xffff0000u : words << 16);
}

INLINE VR splat(float x) { return x - VR{}; }
INLINE VI splat_int(int32_t x) { return x - VI{}; }
INLINE VI bits(VR v) { return (VI)v; }
INLINE VR from_bits(VI v) { return (VR)v; }
INLINE VR select(VI mask, VR a, VR b) { return mask ? a : b; }

INLINE VR reciprocal_positive(VR q) {  // 1/q to 1.5e-7, for normal q of a normal reciprocal
#if defined(__AVX512F__) && UNROLLED_WIDTH == 16
  VR y = (VR)_mm512_rcp14_ps((__m512)q);
#elif defined(__AVX__) && UNROLLED_WIDTH == 8
  VR y = (VR)_mm256_rcp_ps((__m256)q);
#elif defined(__SSE2__) && UNROLLED_WIDTH == 4
  VR y = (VR)_mm_rcp_ps((__m128)q);
#else
  return 1.0f / q;
#endif
#if defined(__SSE2__) && (UNROLLED_WIDTH != 16 || defined(__AVX512F__))
  return y * (2.0f - q * y);
#endif
}

// 2^n p for n in -126..127
INLINE VR scale(VR p, VI n) { return p * from_bits((n + 127) << 23); }

// exp(r) on |r| <= ln(2)/2 after taking n ln(2) away; n comes back through `n`
INLINE VR exp_reduced(VR x, VI* n) {
  const VR magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  VR shifted = x * 1.44269504088896341f + magic;
  *n = bits(shifted) - bits(magic);
  VR k = shifted - magic;
  VR r = x - k * 0.693359375f;
  r = r - k * -2.12194440e-4f;
  VR p = splat(1.9875691500E-4f);
  p = p * r + 1.3981999507E-3f;
  p = p * r + 8.3334519073E-3f;
  p = p * r + 4.1665795894E-2f;
  p = p * r + 1.6666665459E-1f;
  p = p * r + 5.0000001201E-1f;
  return p * (r * r) + (r + 1.0f);
}

INLINE VR clamp(VR x, float low, float high) {  // NaN stays
  x = select(x > splat(high), splat(high), x);
  return select(x < splat(low), splat(low), x);
}

INLINE VR exp(VR x) {  // overflows to inf, underflows through the denormals to 0
  VI n;
  VR p = exp_reduced(clamp(x, -104.0f, 89.0f), &n);
  VI half = n >> 1;
  return scale(scale(p, half), n - half);
}

INLINE VR sigmoid(VR x) {
  VI n;
  VR e = exp_reduced(clamp(-x, -87.0f, 87.0f), &n);
  e = scale(e, n);
  return reciprocal_positive(e + 1.0f);
}

INLINE VR tanh(VR x) {  // a rational minimax approximation
  x = clamp(x, -7.90531110763549805f, 7.90531110763549805f);
  VR z = x * x;
  VR p = splat(-2.76076847742355e-16f);
  p = p * z + 2.00018790482477e-13f;
  p = p * z + -8.60467152213735e-11f;
  p = p * z + 5.12229709037114e-08f;
  p = p * z + 1.48572235717979e-05f;
  p = p * z + 6.37261928875436e-04f;
  p = p * z + 4.89352455891786e-03f;
  VR q = splat(1.19825839466702e-06f);
  q = q * z + 1.18534705686654e-04f;
  q = q * z + 2.26843463243900e-03f;
  q = q * z + 4.89352518554385e-03f;
  return p * x * reciprocal_positive(q);
}

INLINE VR log(VR x) {
  const VR infinity = splat(__builtin_inff());
  VI tiny = x < splat(1.17549435e-38f);  // scale denormals up
  VR y = select(tiny, x * 8388608.0f, x);
  VI e = ((bits(y) >> 23) & 255) - 126;
  e = e - (tiny & 23);
  VR m = from_bits((bits(y) & splat_int(0x007fffff)) | splat_int(0x3f000000));  // in [0.5, 1)
  VI low = m < splat(0.707106781186547524f);
  e = e + low;  // a true comparison is -1
  m = select(low, m + m, m) - 1.0f;
  VR k = __builtin_convertvector(e, VR);
  VR z = m * m;
  VR p = splat(7.0376836292E-2f);
  p = p * m + -1.1514610310E-1f;
  p = p * m + 1.1676998740E-1f;
  p = p * m + -1.2420140846E-1f;
  p = p * m + 1.4249322787E-1f;
  p = p * m + -1.6668057665E-1f;
  p = p * m + 2.0000714765E-1f;
  p = p * m + -2.4999993993E-1f;
  p = p * m + 3.3333331174E-1f;
  VR r = p * m * z + k * -2.12194440e-4f - 0.5f * z;
  r = m + r + k * 0.693359375f;
  r = select(x == splat(0.0f), -infinity, r);
  r = select(x == infinity, infinity, r);
  r = select(x < splat(0.0f), splat(__builtin_nanf("")), r);
  return select(x != x, x, r);
}

INLINE VR log1p(VR x) {  // Kahan's correction of log(1 + x)
  const VR infinity = splat(__builtin_inff());
  VR w = x + 1.0f;
  VR r = log(w) * (x / (w - 1.0f));
  r = select(w == splat(1.0f), x, r);
  return select(w == infinity, w, r);
}

INLINE VR softplus(VR x) {
  return select(x > splat(20.0f), x, log1p(exp(select(x > splat(20.0f), splat(20.0f), x))));
}

INLINE VR square_root(VR x) {
#if defined(__AVX512F__) && UNROLLED_WIDTH == 16
  return (VR)_mm512_sqrt_ps((__m512)x);
#elif defined(__AVX__) && UNROLLED_WIDTH == 8
  return (VR)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__) && UNROLLED_WIDTH == 4
  return (VR)_mm_sqrt_ps((__m128)x);
#else
  VR r;
  for (int i = 0; i < W; i++) r[i] = __builtin_sqrtf(x[i]);
  return r;
#endif
}

INLINE VR maximum(VR a, VR b) { return select((a > b) | (a != a), a, b); }
INLINE VR minimum(VR a, VR b) { return select((a < b) | (a != a), a, b); }
INLINE VR absolute(VR a) { return from_bits(bits(a) & splat_int(0x7fffffff)); }
INLINE VR truth(VI mask) { return from_bits(mask & bits(splat(1.0f))); }

}  // namespace UNROLLED_ISA
}  // namespace unrolled
