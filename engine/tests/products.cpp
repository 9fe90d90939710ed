// Packed products and the dense layers made of them, against plain loops in double precision.
#include "check.h"

using namespace unrolled;

namespace {

constexpr double EPS = 3e-6;

// Rows with gaps between them.
struct Rows {
  long rows, width, stride;
  Guarded floats;
  Rows(long rows_, long width_, Random& random, float scale)
      : rows(rows_), width(width_), stride(width_ + random.integer(0, 3) * random.integer(0, 9)),
        floats(rows_ * stride, UNTOUCHED) {
    for (long r = 0; r < rows; r++)
      for (long k = 0; k < width; k++) floats[r * stride + k] = random.number(scale);
  }
  double operator()(long r, long k) const { return floats[r * stride + k]; }
};

struct Packed {
  Guarded memory;
  static Pack describe(int* zero, int outer, int inner, bool transposed) {
    Pack p{};
    p.transposed = transposed;
    p.block_units = outer;
    p.blocks.items = zero;
    p.blocks.count = 1;
    p.inner = transposed ? outer : inner;
    p.outer = transposed ? inner : outer;
    return p;
  }
  static long size(int outer, int inner, bool transposed) {
    int zero = 0;
    return pack_size(describe(&zero, outer, inner, transposed), isa().lanes);
  }
  Packed(const Guarded& weight, int outer, int inner, bool transposed) : memory(size(outer, inner, transposed)) {
    int zero = 0;
    isa().pack(describe(&zero, outer, inner, transposed), weight.p(), memory.p());
    CHECK(memory.whole());
    for (size_t i = 0; i < memory.size(); i++) CHECK(memory[i] == memory[i]);  // all of it written
  }
};

std::vector<float> padded(const Guarded& bias) {
  std::vector<float> made(bias.p(), bias.p() + bias.size());
  made.resize((made.size() + 31) / 32 * 32, 0.0f);
  return made;
}

// The first results that a call added to, and the sums that belong there.
struct Sum {
  Guarded got;
  Doubles wanted;
  Sum(size_t n, Random& random) : got(n, random, 1), wanted(got.p(), got.p() + n) {}
};

void linear(Random& random, int rows, int inner, int outer, int threads) {
  bool transposed = random.integer(0, 1), with_bias = random.integer(0, 2);
  Guarded weight((size_t)inner * outer, random, 1), bias(outer, random, 1);
  // Transposed: the matrix is [inner, outer], and x is multiplied with it rather than with its transpose.
  Packed packed = transposed ? Packed(weight, inner, outer, true) : Packed(weight, outer, inner, false);
  Rows x(rows, inner, random, 1), y(rows, outer, random, 0);
  Doubles wanted(y.floats.size(), NAN);
  for (int r = 0; r < rows; r++)
    for (int o = 0; o < outer; o++) {
      y.floats[r * y.stride + o] = NAN;
      double sum = with_bias ? bias[o] : 0;
      for (int k = 0; k < inner; k++) sum += x(r, k) * weight[transposed ? k * outer + o : o * inner + k];
      wanted[r * y.stride + o] = sum;
    }
  std::vector<float> wide = padded(bias);
  Dense d;
  d.x = x.floats.p(), d.x_row = x.stride, d.rows = rows, d.inner = inner, d.outer = outer;
  d.packed = packed.memory.p();
  d.bias = with_bias ? wide.data() : nullptr;
  d.y = y.floats.p(), d.y_row = y.stride;
  run_dense(isa(), d, threads);
  CLOSE(y.floats, wanted, EPS);
}

void linear_gradient(Random& random, int rows, int inner, int outer, int threads) {
  Rows x(rows, inner, random, 1), dy(rows, outer, random, 1);
  Sum weight((size_t)inner * outer, random), bias(outer, random);
  bool with_weight = random.integer(0, 4), with_bias = random.integer(0, 2);
  for (int r = 0; r < rows; r++)
    for (int o = 0; o < outer; o++) {
      if (with_bias) bias.wanted[o] += dy(r, o);
      if (with_weight)
        for (int k = 0; k < inner; k++) weight.wanted[(size_t)o * inner + k] += dy(r, o) * x(r, k);
    }
  Dense d;
  d.what = Dense::WEIGHT_GRADIENT;
  d.x = x.floats.p(), d.x_row = x.stride, d.rows = rows, d.inner = inner, d.outer = outer;
  d.y = dy.floats.p(), d.y_row = dy.stride;
  d.d_weight = with_weight ? weight.got.p() : nullptr;
  d.d_bias = with_bias ? bias.got.p() : nullptr;
  run_dense(isa(), d, threads);
  CLOSE(weight.got, weight.wanted, EPS);
  CLOSE(bias.got, bias.wanted, EPS);
  CHECK(x.floats.whole() && dy.floats.whole());
}

// `scale` of the weights: large ones make all but one probability vanish.
void cross_entropy(Random& random, int rows, int inner, int outer, int threads, float scale) {
  Rows x(rows, inner, random, 1);
  Guarded weight((size_t)inner * outer, random, scale), bias(outer, random, 1), losses(rows);
  bool with_bias = random.integer(0, 2), gradients = random.integer(0, 2), with_weight = random.integer(0, 4);
  float smoothing = random.integer(0, 1) ? 0.0f : 0.3f;
  std::vector<int64_t> targets(rows);
  for (int64_t& t : targets) t = random.integer(0, 5) ? random.integer(0, outer - 1) : -random.integer(1, 100);
  Guarded dx((size_t)rows * inner, gradients ? NAN : UNTOUCHED);
  Sum d_weight(weight.size(), random), d_bias(outer, random);
  Doubles wanted_losses(rows), wanted_dx(dx.size(), gradients ? 0 : NAN), p(outer);
  for (int r = 0; r < rows; r++) {
    double most = -INFINITY, sum = 0, mean = 0;
    for (int o = 0; o < outer; o++) {
      p[o] = with_bias ? bias[o] : 0;
      for (int k = 0; k < inner; k++) p[o] += x(r, k) * weight[(size_t)o * inner + k];
      most = std::fmax(most, p[o]);
    }
    for (double q : p) sum += std::exp(q - most), mean += q / outer;
    if (targets[r] < 0) continue;
    wanted_losses[r] = most + std::log(sum) - (1 - smoothing) * p[targets[r]] - smoothing * mean;
    if (!gradients) continue;
    for (int o = 0; o < outer; o++) {
      double g = std::exp(p[o] - most) / sum - smoothing / outer - (o == targets[r]) * (1 - smoothing);
      d_bias.wanted[o] += with_bias ? g : 0;
      for (int k = 0; k < inner; k++) {
        d_weight.wanted[(size_t)o * inner + k] += with_weight ? g * x(r, k) : 0;
        wanted_dx[(size_t)r * inner + k] += g * weight[(size_t)o * inner + k];
      }
    }
  }
  std::vector<float> wide = padded(bias);
  Packed packed(weight, outer, inner, false), back(weight, outer, inner, true);
  Dense d;
  d.what = Dense::CROSS_ENTROPY;
  d.x = x.floats.p(), d.x_row = x.stride, d.rows = rows, d.inner = inner, d.outer = outer;
  d.packed = packed.memory.p();
  d.packed_back = gradients ? back.memory.p() : nullptr;
  d.bias = with_bias ? wide.data() : nullptr;
  d.targets = targets.data();
  d.smoothing = smoothing;
  d.losses = losses.p();
  d.y = gradients ? dx.p() : nullptr, d.y_row = inner;
  d.d_weight = gradients && with_weight ? d_weight.got.p() : nullptr;
  d.d_bias = gradients && with_bias ? d_bias.got.p() : nullptr;
  run_dense(isa(), d, threads);
  for (int r = 0; r < rows; r++) CHECK(targets[r] >= 0 || losses[r] == 0.0f);
  double loose = EPS * std::fmax(1.0f, 10 * scale);  // an error of the logits is one of the exponentials
  CLOSE(losses, wanted_losses, loose);
  CLOSE(dx, wanted_dx, loose);
  CLOSE(d_weight.got, d_weight.wanted, loose);
  CLOSE(d_bias.got, d_bias.wanted, loose);
}

// NaN in one row spoils that row's loss alone; weights of zero mean log(outer). A row that does not count has no
// gradient, not even where its logits overflow.
void cross_entropy_edges() {
  const int rows = 5, inner = 9, outer = 70;
  Random random(3);
  Guarded x(rows * inner, random, 1), weight((size_t)inner * outer, 0.0f), losses(rows);
  x[2 * inner + 4] = NAN;
  Packed packed(weight, outer, inner, false);
  std::vector<int64_t> targets = {0, 69, 3, -1, 32};
  Dense d;
  d.what = Dense::CROSS_ENTROPY;
  d.x = x.p(), d.x_row = inner, d.rows = rows, d.inner = inner, d.outer = outer;
  d.packed = packed.memory.p(), d.targets = targets.data(), d.losses = losses.p();
  run_dense(isa(), d, 1);
  for (int r = 0; r < rows; r++) {
    if (r == 2) CHECK(losses[r] != losses[r]);
    else CHECK(std::fabs(losses[r] - (r == 3 ? 0 : std::log(outer))) < 1e-5);
  }
  Guarded big(outer * inner, 2.0f), dx(rows * inner), d_weight(outer * inner, 0.0f);
  Packed forward(big, outer, inner, false), back(big, outer, inner, true);
  for (int k = 0; k < inner; k++) x[2 * inner + k] = 3e38f;
  targets[2] = -100;
  d.packed = forward.memory.p(), d.packed_back = back.memory.p();
  d.y = dx.p(), d.y_row = inner, d.d_weight = d_weight.p();
  run_dense(isa(), d, 1);
  CHECK(losses[2] == 0.0f);
  for (int k = 0; k < inner; k++) CHECK(dx[2 * inner + k] == 0.0f);
  for (size_t i = 0; i < d_weight.size(); i++) CHECK(std::isfinite(d_weight[i]));
}

}  // namespace

int main() {
  prepare();
  Random random(7);
  for (int i = 0; i < 60; i++) {
    int most = i % 4 ? 70 : 130, rows = random.integer(1, most), inner = random.integer(1, most);
    int outer = random.integer(1, most), threads = 1 + i % 3;
    linear(random, rows, inner, outer, threads);
    linear_gradient(random, rows, inner, outer, threads);
    cross_entropy(random, rows, inner, outer, threads, i % 7 ? 0.3f : 30.0f);
  }
  for (int threads : {1, 2, 3}) {  // more rows than one chunk, longer sums than one piece, enough work for a team
    linear(random, 203, 401, 33, threads);
    linear(random, 50, 1100, 20, threads);
    linear_gradient(random, 397, 65, 97, threads);
    cross_entropy(random, 131, 97, 129, threads, 0.1f);
    cross_entropy(random, 97, 33, 391, threads, 0.1f);
    cross_entropy(random, 20, 9, 1100, threads, 0.1f);
    linear(random, 0, 3, 5, threads);
    linear_gradient(random, 0, 3, 5, threads);
    cross_entropy(random, 0, 3, 5, threads, 1);
  }
  cross_entropy_edges();
}
