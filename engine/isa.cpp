// Compiled once for each instruction set, with UNROLLED_ISA and UNROLLED_WIDTH defined: everything that computes.
//
// Nothing here may instantiate templates of the standard library out of line: the linker would keep one copy, perhaps
// of an instruction set that this machine lacks.
#include <time.h>

#include "dense.h"
#include "steps.h"

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define JOIN_OF(a, b) a##b
#define JOIN(a, b) JOIN_OF(a, b)

namespace unrolled {
namespace UNROLLED_ISA {

static void pack(const Pack& p, const float* weight, float* out) {
  if (p.transposed) pack_columns(weight, p.blocks.items, p.blocks.count, p.block_units, p.outer, out);
  else pack_rows(weight, p.blocks.items, p.blocks.count, p.block_units, p.inner, out);
}

static void halve(const float* packed, void* out, long panels, int inner) { pack_half(packed, (Half*)out, panels, inner); }

static void forward_work(void* data, const Team& team) {
  Call& call = *(Call*)data;
  Worker(call, team.size > 1 ? 0 : team.id, team, false).run_forward();
}

static void backward_work(void* data, const Team& team) {
  Call& call = *(Call*)data;
  Worker(call, team.size > 1 ? 0 : team.id, team, true).run_backward();
}

static void forward(Call& call) {
  lay_out_forward(call, NB);
  if (call.team > 1) run_together(call.team, forward_work, &call);
  else run_apart((int)call.parts->size(), forward_work, &call);
}

struct Sum { Call* call; int pieces; };

// Adds the other parts' sums to the first one's, a share of each tensor.
static void sum_work(void* data, const Team& team) {
  Sum& sum = *(Sum*)data;
  Call& call = *sum.call;
  Space* spaces = call.backward->data();
  int parts = (int)call.parts->size();
  for (int kind = 0; kind < 2; kind++) {
    int count = (int)(kind ? call.d_vectors.size() : call.d_weights.size());
    for (int w = 0; w < count; w++) {
      float* to = kind ? call.d_vectors.data()[w] : call.d_weights.data()[w];
      if (!to) continue;
      long size = kind ? call.vector_sizes.data()[w] : call.weight_sizes.data()[w];
      long from = size * team.id / sum.pieces, end = size * (team.id + 1) / sum.pieces;
      for (int p = 1; p < parts; p++) {
        const float* s = kind ? spaces[p].d_vectors.data()[w] : spaces[p].d_weights.data()[w];
        long i = from;
        for (; i + W <= end; i += W) store(to + i, load(to + i) + load(s + i));
        for (; i < end; i++) to[i] += s[i];
      }
    }
  }
}

static void backward(Call& call) {
  lay_out_backward(call, NB);
  int parts = (int)call.parts->size();
  if (call.team > 1) run_together(call.team, backward_work, &call);
  else run_apart(parts, backward_work, &call);
  if (parts > 1) {
    Sum sum = {&call, parts};
    run_apart(parts, sum_work, &sum);
  }
}

static void step(Call& call, long now) { Worker(call, 0, Team{}, false).run_step(now); }

static void vectors(Call& call) { Worker(call, 0, Team{}, false).load_vectors(); }

static void states(Call& call, long now, bool store) {
  Worker worker(call, 0, Team{}, false);
  if (store) worker.store_states(now);
  else worker.load_states(now);
}

// A hash of n floats' bits, at the speed of memory. Torch's fused optimisers change weights without telling.
static uint64_t fingerprint(const float* p, long n) {
  typedef uint32_t U __attribute__((vector_size(4 * W)));
  U h[8];
  for (uint32_t i = 0; i < 8; i++) h[i] = (U)splat_int((int32_t)(i * 0x9e3779b9u + 1u));
  long i = 0;
  for (; i + 8 * W <= n; i += 8 * W)
    UNROLL for (int k = 0; k < 8; k++) h[k] = h[k] * 0x85ebca6bu + (U)bits(load(p + i + k * W));
  uint64_t sum = (uint64_t)n;
  for (; i < n; i++) {
    uint32_t word;
    memcpy(&word, p + i, 4);
    sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
  }
  for (int k = 0; k < 8; k++)
    for (int j = 0; j < W; j++) sum = ((sum ^ h[k][j]) * 0x9e3779b97f4a7c15ull) ^ (sum >> 29);
  return sum;
}

static double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec + 1e-9 * t.tv_nsec;
}

static double peak(double seconds) {
  VR acc[12];
  UNROLL for (int i = 0; i < 12; i++) acc[i] = splat(0.001f * i);
  VR a = splat(0.999999f), b = splat(1e-7f);
  double best = 0, begun = now();
  do {
    double start = now();
    for (int k = 0; k < 20000; k++) {
      UNROLL for (int i = 0; i < 12; i++) acc[i] = acc[i] * a + b;
    }
    double rate = 20000.0 * 12 * W * 2 / (now() - start);
    best = rate > best ? rate : best;
  } while (now() - begun < seconds);
  VR sum = acc[0];
  UNROLL for (int i = 1; i < 12; i++) sum = sum + acc[i];
  volatile float keep = sum[0];
  (void)keep;
  return best;
}

static void function(int op, const float* x, float* y, int n) {
  Instruction code = {op, 0, 1, 1, 1, 0.0f};
  for (int i = 0; i < n; i += NB) {
    float in[NB] = {0}, out[NB];
    int k = smaller(NB, n - i);
    memcpy(in, x + i, sizeof(float) * k);
    Register registers[2] = {{out, 0, NB}, {in, 0, NB}};
    interpret(&code, 1, registers, 1, 1);
    memcpy(y + i, out, sizeof(float) * k);
  }
}

static const Isa THIS = {TEXT(UNROLLED_ISA), NB, pack, halve, forward, backward, step, vectors, states, dense, fingerprint, peak, function};

}  // namespace UNROLLED_ISA

const Isa* JOIN(isa_, UNROLLED_ISA)() { return &UNROLLED_ISA::THIS; }

}  // namespace unrolled
