// Operations of two and three operands, comparisons, and reductions, through plans of one step: every special value
// with every other one.
#include <float.h>

#include "encoding.h"

using namespace unrolled;

namespace {

constexpr float INF = INFINITY;
const std::vector<float> SPECIAL = {NAN, INF, -INF, 0.0f, -0.0f, 1, -1, 0.5f, -2.5f, 3, 20.5f, 1e-42f, -1e-42f, 1e17f, -1e17f, 1e-20f};

// h = whatever `stage` makes of three externs; planes: 0 gate, 1 h, 2..4 externs, 5 one number per row
std::shared_ptr<Executable> executable(int size, const Ints& stage, const Doubles& immediates) {
  Encoder e;
  e.add({1, 0, 1, size});
  e.add(Encoder::list({{GATE, 0, -1, -1}, {STATE, 0, -1, -1}, {EXTERN, 0, 0, -1}, {EXTERN, 0, 1, -1}, {EXTERN, 0, 2, -1},
                       {STEP, -1, -1, -1}}));
  e.add({1, 0, 0, 1, 1, -1, -1});  // one gate without bias, one state, no dy
  e.add(Encoder::list({stage}));
  e.add({0, 0, 0, 0});
  return std::make_shared<Executable>(e.made.ints, immediates, 1);
}

// Rows of externs to rows of h.
Guarded run(const std::shared_ptr<Executable>& made, int rows, int size, const Guarded& a, const Guarded& b, const Guarded& c) {
  Guarded x(rows, 0.0f), weight(size, 0.0f), h((size_t)rows * size);
  auto sequences = std::make_shared<Sequences>();
  for (int r = 0; r < rows; r++) sequences->batch.push_back(r), sequences->start.push_back(0), sequences->length.push_back(1);
  Numbers arguments{x.address(), 0, 1, h.address(), 0, size};
  for (const Guarded* e : {&a, &b, &c}) arguments.insert(arguments.end(), {e->address(), 0, size});
  arguments.resize(made->plan.externs * 3 + 6);
  arguments.insert(arguments.end(), {0, 0});
  made->forward(sequences, *made->pack({weight.address()}, false), arguments, 1);
  CHECK(h.whole());
  return h;
}

// `size`: of the terms, where some cancel
bool close_to(float got, double wanted, double size = 0) {
  if (wanted != wanted) return got != got;
  if (std::fabs(wanted) > FLT_MAX) return got == (wanted > 0 ? INF : -INF);
  return std::fabs(got - wanted) <= 1e-6 * std::fmax(std::fabs(wanted), size) + 3e-45;
}

struct Operation {
  const char* name;
  int op;
  double (*exact)(double a, double b, double c, double imm);
};

#define EXACT(expression) [](double a, double b, double c, double imm) -> double { (void)a, (void)b, (void)c, (void)imm; return expression; }
const Operation OPERATIONS[] = {
    {"add", ADD, EXACT(a + b)},
    {"sub", SUB, EXACT(a - b)},
    {"mul", MUL, EXACT(a * b)},
    {"div", DIV, EXACT(a / b)},
    {"fma", FMA, EXACT(a * b + c)},
    {"fnma", FNMA, EXACT(c - a * b)},
    {"fms", FMS, EXACT(a * b - c)},
    {"addc", ADDC, EXACT(a + imm)},
    {"mulc", MULC, EXACT(a * imm)},
    {"rsubc", RSUBC, EXACT(imm - a)},
    {"const", CONST, EXACT(imm)},
    {"max", MAX, EXACT(a != a || b != b ? NAN : a > b ? a : b)},
    {"min", MIN, EXACT(a != a || b != b ? NAN : a < b ? a : b)},
    {"maxc", MAXC, EXACT(a < imm ? imm : a)},
    {"minc", MINC, EXACT(a > imm ? imm : a)},
    {"lt", LT, EXACT(a < b)},
    {"le", LE, EXACT(a <= b)},
    {"eq", EQ, EXACT(a == b)},
    {"ltc", LTC, EXACT(a < imm)},
    {"lec", LEC, EXACT(a <= imm)},
    {"eqc", EQC, EXACT(a == imm)},
    {"gtc", GTC, EXACT(a > imm)},
    {"gec", GEC, EXACT(a >= imm)},
    {"where", WHERE, EXACT(a != 0 ? b : c)},
    {"dsigmoid", DSIGMOID, EXACT(a * b * (1 - b))},
    {"dtanh", DTANH, EXACT(a - a * b * b)},
    {"drelu", DRELU, EXACT(b > 0 ? a : 0)},
    {"lerp", LERP, EXACT(c + a * (b - c))},
    {"dabs", DABS, EXACT(b > 0 ? a : b < 0 ? -a : 0)},
};

void operations() {
  // What sums of products lose to underflow or to another rounding is not at issue.
  auto size_of = [](const Operation& o, float a, float b, float c) {
    if (o.op < FMA || (o.op > FMS && o.op != LERP && o.op != DTANH && o.op != DSIGMOID)) return 0.0;
    double size = (1 + std::fabs(a)) * (1 + std::fabs(b)) * (1 + std::fabs(b)) * (1 + std::fabs(c));
    return size < 1e15 || std::isinf(a) || std::isinf(b) || std::isinf(c) ? std::fmin(size, 1e15) : -1.0;
  };
  const int n = (int)SPECIAL.size(), size = 35, rows = (n * n * n + size - 1) / size;
  Guarded a(rows * size, 1.0f), b(rows * size, 1.0f), c(rows * size, 1.0f);
  for (int i = 0; i < n * n * n; i++) a[i] = SPECIAL[i % n], b[i] = SPECIAL[i / n % n], c[i] = SPECIAL[i / n / n];
  for (const Operation& o : OPERATIONS)
    for (double imm : {0.0, 1.0, -2.5}) {
      Encoder e;
      Ints program = e.program(0, {{1, 0}, {2, 0}, {3, 0}, {4, 0}}, 0, {{o.op, 0, 1, 2, 3, imm}});
      Guarded h = run(executable(size, Encoder::stage({}, {}, {program}), e.made.floats), rows, size, a, b, c);
      for (size_t i = 0; i < h.size(); i++) {
        double wanted = o.exact(a[i], b[i], c[i], imm), magnitude = size_of(o, a[i], b[i], c[i]);
        if (magnitude < 0 || close_to(h[i], wanted, magnitude)) continue;
        std::fprintf(stderr, "%s(%g, %g, %g; %g) is %.9g, not %.9g\n", o.name, a[i], b[i], c[i], imm, h[i], wanted);
        std::abort();
      }
    }
}

// In place, with an operand that repeats its row (a number per row) and one that is the result.
void reductions() {
  Random random(61);
  for (int size : {1, 7, 8, 9, 16, 31, 32, 33, 64, 100})
    for (int op = 0; op < 3; op++)
      for (int turn = 0; turn < 4; turn++) {
        const int rows = random.integer(1, 40);
        Guarded a((size_t)rows * size, random, 10), none(1);
        for (int r = 0; turn && r < rows; r++) {
          int k = random.integer(0, size - 1);
          if (turn == 1 && r % 2) a[r * size + k] = r % 3 ? NAN : INF;
          for (int i = 0; turn == 2 && i < size; i++) a[r * size + i] = -INF;
          if (turn == 3) a[r * size + k] = -1e6f;
        }
        Encoder e;
        Ints program = e.program(0, {{1, 0}, {5, 0}}, 0, {{COPY, 0, 1, 1, 1, 0}, {MULC, 0, 0, 0, 0, 2}, {ADD, 0, 1, 0, 0, 0}});
        Guarded h = run(executable(size, Encoder::stage({}, {{op, 2, 0, 5, 0}}, {program}), e.made.floats), rows, size, a, a, a);
        for (int r = 0; r < rows; r++) {
          double sum = 0, most = -INF, scale = 0;
          for (int i = 0; i < size; i++) {
            double v = a[r * size + i];
            sum += v, scale += std::fabs(v);
            most = v != v || most != most ? NAN : std::fmax(most, v);
          }
          double wanted = 3 * (op == 0 ? sum : op == 1 ? sum / size : most);
          for (int i = 0; i < size; i++) {
            float got = h[r * size + i];
            CHECK(close_to(got, wanted, scale));
          }
        }
      }
}

}  // namespace

int main() {
  prepare();
  operations();
  reductions();
}
