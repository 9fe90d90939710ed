// Every unary operation against the mathematics of double precision: over wide ranges, and at the special values.
#include <float.h>

#include "check.h"

using namespace unrolled;

namespace {

constexpr float INF = INFINITY;

struct Function {
  const char* name;
  int op;
  double (*exact)(double);
  double error;      // allowed, relative
  double tiny;       // allowed besides, absolute
  float low, high;   // where numbers are drawn
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }
double relu(double x) { return x < 0 ? 0 : x; }
double rsqrt(double x) { return 1 / std::sqrt(x); }
double recip(double x) { return 1 / x; }
double negative(double x) { return -x; }
double same(double x) { return x; }
// With immediate 0, as Isa::function runs them
double zero(double) { return 0; }
double at_least_zero(double x) { return x < 0 ? 0 : x; }
double at_most_zero(double x) { return x > 0 ? 0 : x; }
double less(double x) { return x < 0; }
double less_equal(double x) { return x <= 0; }
double equal(double x) { return x == 0; }
double greater(double x) { return x > 0; }
double greater_equal(double x) { return x >= 0; }

constexpr double EPS = 4e-7;
const Function FUNCTIONS[] = {
    {"sigmoid", SIGMOID, sigmoid, EPS, 0, -87, 100},
    {"sigmoid below", SIGMOID, sigmoid, 0, 2e-38, -1000, -87},
    {"tanh", TANH, std::tanh, EPS, 3e-43, -20, 20},
    {"tanh near 0", TANH, std::tanh, EPS, 3e-43, -1e-3f, 1e-3f},
    {"exp", EXP, std::exp, EPS, 0, -87, 88.7f},
    {"exp of denormals", EXP, std::exp, EPS, 1.5e-45, -110, -87},
    {"log", LOG, std::log, EPS, 0, 0, 3e38f},
    {"log near 1", LOG, std::log, EPS, 0, 0.5f, 2},
    {"log of denormals", LOG, std::log, EPS, 0, 0, 2e-38f},
    {"log1p", LOG1P, std::log1p, EPS, 0, -0.999f, 1e6f},
    {"log1p near 0", LOG1P, std::log1p, EPS, 0, -1e-3f, 1e-3f},
    {"log1p to -1", LOG1P, std::log1p, EPS, 0, -1, 0},
    {"softplus", SOFTPLUS, softplus, 1e-6, 1e-45, -86, 100},
    {"sqrt", SQRT, std::sqrt, 6e-8, 0, 0, 3e38f},
    {"rsqrt", RSQRT, rsqrt, 2e-7, 0, 1e-30f, 1e30f},
    {"recip", RECIP, recip, 6e-8, 0, -1e30f, 1e30f},
    {"relu", RELU, relu, 0, 0, -10, 10},
    {"abs", ABS, std::fabs, 0, 0, -3e38f, 3e38f},
    {"neg", NEG, negative, 0, 0, -3e38f, 3e38f},
    {"copy", COPY, same, 0, 0, -3e38f, 3e38f},
    {"addc", ADDC, same, 0, 0, -3e38f, 3e38f},
    {"mulc", MULC, zero, 0, 0, -3e38f, 3e38f},
    {"rsubc", RSUBC, negative, 0, 0, -3e38f, 3e38f},
    {"const", CONST, zero, 0, 0, -3e38f, 3e38f},
    {"maxc", MAXC, at_least_zero, 0, 0, -10, 10},
    {"minc", MINC, at_most_zero, 0, 0, -10, 10},
    {"ltc", LTC, less, 0, 0, -10, 10},
    {"lec", LEC, less_equal, 0, 0, -10, 10},
    {"eqc", EQC, equal, 0, 0, -10, 10},
    {"gtc", GTC, greater, 0, 0, -10, 10},
    {"gec", GEC, greater_equal, 0, 0, -10, 10},
};

void ranges() {
  Random random(1);
  const int n = 20011;  // no multiple of any block
  for (const Function& f : FUNCTIONS) {
    Guarded x(n), y(n);
    for (int i = 0; i < n; i++) {
      double u = random.bits() / 4294967296.0;
      // Half evenly, half by magnitude, down to what is denormal.
      double wide = std::ldexp(i % 4 < 2 ? 1.0 : -1.0, random.integer(-149, 127)) * (1 + u);
      bool inside = wide >= f.low && wide <= f.high;
      x[i] = i % 2 && inside ? (float)wide : (float)(f.low + (f.high - (double)f.low) * u);
    }
    isa().function(f.op, x.p(), y.p(), n);
    CHECK(y.whole());
    double worst = 0;
    for (int i = 0; i < n; i++) {
      double wanted = f.exact(x[i]), d = std::fabs(y[i] - wanted);
      if (std::fabs(wanted) > FLT_MAX || (std::isinf(wanted) && y[i] == wanted)) continue;  // overflow: specials()
      if (d <= f.tiny) continue;
      d /= std::fabs(wanted);
      // What is denormal keeps fewer bits, and both may flush.
      if (std::fabs(wanted) < 2 * FLT_MIN) d = std::fabs(y[i] - wanted) <= 2e-45 ? 0 : d;
      if (!(d <= f.error)) std::fprintf(stderr, "%s(%.9g) is %.9g, not %.9g\n", f.name, x[i], y[i], wanted);
      CHECK(d <= f.error);
      worst = std::fmax(worst, d);
    }
    std::printf("%-18s %-8s %.1e\n", f.name, isa().name, worst);
  }
}

bool alike(float a, float b) { return a != a ? b != b : a == b && std::signbit(a) == std::signbit(b); }

void at(int op, float x, float wanted) {
  for (int n : {1, 7, 8, 9, 33}) {  // whole vectors and their tails
    Guarded in(n, x), out(n);
    isa().function(op, in.p(), out.p(), n);
    CHECK(out.whole());
    for (int i = 0; i < n; i++) {
      if (!alike(out[i], wanted)) std::fprintf(stderr, "op %d of %g is %.9g, not %g\n", op, x, out[i], wanted);
      CHECK(alike(out[i], wanted));
    }
  }
}

void specials() {
  const float denormal = 1e-42f;
  for (int op : {COPY, ADDC, MULC, RSUBC, SIGMOID, TANH, RELU, EXP, LOG, LOG1P, SQRT, RSQRT, ABS, RECIP, MAXC, MINC,
                 SOFTPLUS, NEG})
    at(op, NAN, NAN);
  for (int op : {LTC, LEC, EQC, GTC, GEC, CONST}) at(op, NAN, 0);
  at(TANH, 0.0f, 0.0f), at(TANH, -0.0f, -0.0f);
  at(EXP, INF, INF), at(EXP, -INF, 0), at(EXP, 0.0f, 1), at(EXP, -0.0f, 1), at(EXP, 88.73f, INF), at(EXP, 1e30f, INF);
  at(EXP, -104.5f, 0), at(EXP, -1e30f, 0), at(EXP, denormal, 1);
  at(LOG, INF, INF), at(LOG, 0.0f, -INF), at(LOG, -0.0f, -INF), at(LOG, 1, 0), at(LOG, -1, NAN), at(LOG, -INF, NAN);
  at(LOG, -denormal, NAN);
  at(LOG1P, INF, INF), at(LOG1P, -1, -INF), at(LOG1P, -2, NAN), at(LOG1P, -INF, NAN), at(LOG1P, 0.0f, 0.0f);
  at(LOG1P, -0.0f, -0.0f), at(LOG1P, denormal, denormal);
  at(SOFTPLUS, INF, INF), at(SOFTPLUS, -INF, 0), at(SOFTPLUS, 20.5f, 20.5f), at(SOFTPLUS, 1e30f, 1e30f);
  at(SQRT, INF, INF), at(SQRT, 0.0f, 0.0f), at(SQRT, -0.0f, -0.0f), at(SQRT, -1, NAN), at(SQRT, 4, 2);
  at(RSQRT, INF, 0), at(RSQRT, 0.0f, INF), at(RSQRT, -1, NAN), at(RSQRT, 4, 0.5f);
  at(RECIP, INF, 0.0f), at(RECIP, -INF, -0.0f), at(RECIP, 0.0f, INF), at(RECIP, -0.0f, -INF);
  at(RELU, INF, INF), at(RELU, -INF, 0), at(RELU, -denormal, 0), at(RELU, denormal, denormal);
  at(ABS, -INF, INF), at(ABS, -0.0f, 0.0f), at(NEG, 0.0f, -0.0f), at(NEG, INF, -INF);
  at(MAXC, -INF, 0), at(MAXC, INF, INF), at(MINC, INF, 0), at(MINC, -INF, -INF);
  at(LTC, -denormal, 1), at(LTC, 0, 0), at(LEC, -0.0f, 1), at(EQC, -0.0f, 1), at(EQC, denormal, 0), at(GTC, denormal, 1);
  at(GTC, 0, 0), at(GEC, -0.0f, 1), at(GEC, -denormal, 0);

  // Where only closeness is promised.
  const float far[] = {INF, -INF, FLT_MAX, -FLT_MAX, 100, -100, 0.0f, -0.0f, denormal};
  for (float x : far) {
    float y;
    isa().function(TANH, &x, &y, 1);
    CHECK(std::fabs(y - std::tanh(x)) <= 1e-6 && std::fabs(y) <= 1.0f);
    isa().function(SIGMOID, &x, &y, 1);
    CHECK(y >= 0 && y <= 1.0f && std::fabs(y - sigmoid(x)) <= 1e-6);
  }
  // Monotone enough for a gate: never outside [0, 1] or [-1, 1].
  for (float x = -95; x < 95; x += 0.0137f) {
    float y;
    isa().function(SIGMOID, &x, &y, 1);
    CHECK(y >= 0 && y <= 1.0f);
    isa().function(TANH, &x, &y, 1);
    CHECK(y >= -1.0000005f && y <= 1.0000005f);
  }
}

// Equal for equal bits wherever they lie; another one after any change.
void fingerprints() {
  Random random(2);
  for (int n : {0, 1, 7, 63, 64, 65, 128, 300, 1000}) {
    Guarded a(n + 1, random, 1), b(n + 2);
    for (int i = 0; i < n; i++) b[i + 1] = a[i];
    const uint64_t was = isa().fingerprint(a.p(), n);
    CHECK(isa().fingerprint(b.p() + 1, n) == was);
    CHECK(n == 0 || isa().fingerprint(a.p(), n - 1) != was);
    for (int i = 0; i < n; i++) {
      const float kept = a[i];
      uint32_t word;
      std::memcpy(&word, &kept, 4);
      word ^= 1u << i % 32;
      std::memcpy(&a[i], &word, 4);
      CHECK(isa().fingerprint(a.p(), n) != was);
      a[i] = kept;
      const int k = random.integer(0, n - 1);
      std::swap(a[i], a[k]);
      CHECK(i == k || isa().fingerprint(a.p(), n) != was);
      std::swap(a[i], a[k]);
    }
  }
}

}  // namespace

int main() {
  prepare();
  ranges();
  specials();
  fingerprints();
}
