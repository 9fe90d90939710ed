#include "problem.h"

#include <string.h>

#include <algorithm>
#include <numeric>

namespace unrolled {
namespace {

constexpr int FORWARD_ROWS = 64, BACKWARD_ROWS = 192;  // rows of one chunk, at least
constexpr int ROWS_PER_THREAD = 8;                     // from so many on, the batch is split
constexpr double TEAM_FLOPS = 5e4;                     // of a step and thread, from which splitting units pays

std::vector<int> chunked(const Part& part, int rows, long* most) {
  std::vector<int> starts{0};
  *most = 0;
  for (int s = 0; s < part.steps; s++) {
    long begun = part.offset[s + 1] - part.offset[starts.back()];
    *most = std::max(*most, begun);
    if (begun >= rows && s + 1 < part.steps) starts.push_back(s + 1);
  }
  if (part.steps) starts.push_back(part.steps);
  return starts;
}

void finish(Part& part, const Sequences& q) {
  part.sequences = (int)part.sequence.size();
  part.steps = part.sequences ? q.length[part.sequence[0]] : 0;
  part.active.assign(part.steps, 0);
  part.offset.assign(part.steps + 1, 0);
  int n = part.sequences;
  for (int s = 0; s < part.steps; s++) {
    while (n > 0 && q.length[part.sequence[n - 1]] <= s) n--;
    part.active[s] = n;
    part.offset[s + 1] = part.offset[s] + n;
  }
  part.rows = part.offset[part.steps];
  part.chunks = chunked(part, FORWARD_ROWS, &part.chunk_rows);
  part.back_chunks = chunked(part, BACKWARD_ROWS, &part.back_chunk_rows);
}

double step_flops(const Plan& plan) {  // of one row
  double flops = 0;
  for (int i = 0; i < plan.forward.count; i++)
    for (int k = 0; k < plan.forward[i].products.count; k++) {
      const Pack& p = plan.packs[plan.forward[i].products[k].pack];
      flops += 2.0 * p.inner * p.outer * (p.transposed ? 1 : p.blocks.count);
    }
  return flops;
}

// Hands out floats: counted first, then taken as one piece.
struct Layout {
  int lanes;
  float* base = nullptr;
  long used = 0;
  int turn = 0;

  float* floats(long count) {
    float* p = base ? base + used : nullptr;
    used += (count + 15) / 16 * 16;
    return p;
  }
  // An odd number of rows, and a shifting start, so that blocks and planes do not share cache sets.
  PlaneAt plane(int units, long rows) {
    PlaneAt at;
    floats(16 * (turn = (turn + 1) % 5));
    long odd = rows | 1;
    bool row = units == ROW;
    int blocks = row ? 1 : (units + lanes - 1) / lanes;
    at.p = floats((long)blocks * odd * lanes);
    at.block = row ? 0 : odd * lanes;
    at.row = lanes;
    return at;
  }
  PlaneAt vector(int units) {
    PlaneAt at;
    int blocks = (units + lanes - 1) / lanes;
    at.p = floats((long)blocks * lanes);
    at.block = lanes;
    return at;
  }
};

int size_units(const Plan& plan, int size) { return size == ROW ? ROW : plan.sizes[size]; }

void lay_out_forward_part(const Call& call, const Part& part, Space& space, Layout& layout) {
  const Plan& plan = *call.plan;
  long rows = plan.training ? part.rows : part.chunk_rows;
  space.planes.assign(plan.planes.count, PlaneAt{});
  for (int i = 0; i < plan.planes.count; i++) {
    const Plane& p = plan.planes[i];
    int units = size_units(plan, p.size);
    switch (p.kind) {
      case GATE: case SAVED: case EXTERN: space.planes[i] = layout.plane(units, rows); break;
      case STATE: space.planes[i] = layout.plane(units, rows + part.sequences); break;
      case STEP: space.planes[i] = layout.plane(units, part.sequences); break;
      case VECTOR: space.planes[i] = layout.vector(units); break;
      default: break;
    }
  }
  space.gate_bias.assign(plan.gates.count, nullptr);
  for (int g = 0; g < plan.gates.count; g++)
    if (plan.gates[g].biases.count)
      space.gate_bias[g] = layout.vector(plan.units(plan.planes[plan.gates[g].plane].size)).p;
  space.x = layout.plane(plan.input_size, part.chunk_rows);
  space.temps_size = (long)TEMPS * (TILE + 2 * layout.lanes);
  space.temps = layout.floats(space.temps_size * call.team);
}

void lay_out_backward_part(const Call& call, const Part& part, int index, Space& space, Layout& layout) {
  const Plan& plan = *call.plan;
  long rows = part.back_chunk_rows;
  space.planes.assign(plan.planes.count, PlaneAt{});
  int widest = 1;
  for (int i = 0; i < plan.planes.count; i++) {
    const Plane& p = plan.planes[i];
    int units = size_units(plan, p.size);
    widest = std::max(widest, units);
    switch (p.kind) {
      case DY: case GRAD: space.planes[i] = layout.plane(units, rows); break;
      case CARRY: case BSTEP: space.planes[i] = layout.plane(units, part.sequences); break;
      case VECGRAD: space.planes[i] = layout.vector(units); break;
      default: break;
    }
  }
  space.x = layout.plane(plan.input_size, rows);
  space.dx = layout.plane(plan.input_size, rows);
  space.argument = layout.plane(widest, rows);
  space.temps_size = (long)TEMPS * (TILE + 2 * layout.lanes);
  space.temps = layout.floats(space.temps_size * call.team);
  // The first part adds to the caller's gradients, the others to sums of their own.
  space.d_weights.assign(call.d_weights.size(), nullptr);
  space.d_vectors.assign(call.d_vectors.size(), nullptr);
  for (size_t w = 0; w < call.d_weights.size(); w++)
    if (call.d_weights[w]) space.d_weights[w] = index ? layout.floats(call.weight_sizes[w]) : call.d_weights[w];
  for (size_t v = 0; v < call.d_vectors.size(); v++)
    if (call.d_vectors[v]) space.d_vectors[v] = index ? layout.floats(call.vector_sizes[v]) : call.d_vectors[v];
}

}  // namespace

long pack_size(const Pack& pack, int lanes) {
  long panels = (pack.outer + lanes - 1) / lanes;
  return panels * (pack.transposed ? 1 : pack.blocks.count) * (long)pack.inner * lanes;
}

int divide(const Plan& plan, const Sequences& q, int threads, std::vector<Part>& parts) {
  int count = (int)q.length.size();
  std::vector<int> order(count);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return q.length[a] > q.length[b]; });
  int pieces = std::max(1, std::min(threads, count / ROWS_PER_THREAD));
  int team = 1;
  if (pieces < threads) {
    pieces = 1;
    double flops = step_flops(plan) * std::max(1, count);
    double all = 0;
    for (int n : q.length) all += n;
    int blocks = plan.units(plan.planes[plan.states[0].plane].size) / 32;
    if (plan.local ? all * plan.input_size * plan.gates.count > 1e6 : flops / threads >= TEAM_FLOPS)
      team = std::max(1, std::min(threads, blocks));
  }
  parts.assign(pieces, Part{});
  for (int i = 0; i < count; i++) {  // there and back, so that all get as many steps
    int turn = i / pieces, place = i % pieces;
    parts[turn % 2 ? pieces - 1 - place : place].sequence.push_back(order[i]);
  }
  for (Part& part : parts) finish(part, q);
  return team;
}

void lay_out_forward(Call& call, int lanes) {
  for (size_t i = 0; i < call.parts->size(); i++) {
    Space& space = (*call.forward)[i];
    Layout layout{lanes};
    lay_out_forward_part(call, (*call.parts)[i], space, layout);
    space.bytes = sizeof(float) * layout.used;
    space.memory = Floats(layout.used);
    Layout real{lanes, space.memory.get()};
    lay_out_forward_part(call, (*call.parts)[i], space, real);
  }
}

void lay_out_backward(Call& call, int lanes) {
  for (size_t i = 0; i < call.parts->size(); i++) {
    Space& space = (*call.backward)[i];
    Layout layout{lanes};
    lay_out_backward_part(call, (*call.parts)[i], (int)i, space, layout);
    space.bytes = sizeof(float) * layout.used;
    space.memory = Floats(layout.used);
    Layout real{lanes, space.memory.get()};
    lay_out_backward_part(call, (*call.parts)[i], (int)i, space, real);
    if (i == 0) continue;
    for (size_t w = 0; w < space.d_weights.size(); w++)
      if (space.d_weights[w]) memset(space.d_weights[w], 0, sizeof(float) * call.weight_sizes[w]);
    for (size_t v = 0; v < space.d_vectors.size(); v++)
      if (space.d_vectors[v]) memset(space.d_vectors[v], 0, sizeof(float) * call.vector_sizes[v]);
  }
}

void run_dense(const Isa& isa, Dense& d, int threads) {
  long lanes = isa.lanes;
  long ins = (d.inner + lanes - 1) / lanes, outs = (d.outer + lanes - 1) / lanes;
  double work = (double)d.rows * d.inner * d.outer;
  d.threads = (int)std::max(1.0, std::min((double)threads, work / 200000));
  long count;
  if (d.what == Dense::CROSS_ENTROPY) {
    count = 3 * d.threads * DENSE_ROWS + (ins + outs) * (DENSE_ROWS | 1) * lanes;
  } else if (d.what == Dense::WEIGHT_GRADIENT) {
    count = (ins + outs) * ((2 * DENSE_ROWS) | 1) * lanes;
  } else {
    d.space_size = DENSE_ROWS * lanes + ins * (DENSE_ROWS | 1) * lanes;
    count = d.space_size * d.threads;
  }
  Floats space(count);
  d.space = space.get();
  isa.dense(d);
}

}  // namespace unrolled
