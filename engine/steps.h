// A plan over time: chunks of steps, stage by stage, tile by tile; and the gradients of the weights.
// Long because it is one struct: all of it works on the same part, planes and team.
#pragma once
#include "gemm.h"
#include "pointwise.h"
#include "problem.h"

namespace unrolled {
namespace UNROLLED_ISA {

constexpr int TARGETS = 64;      // panels of one call of multiply
constexpr int MOST_BLOCKS = 16;  // blocks of one tile

INLINE int blocks_of(int units) { return (units + NB - 1) / NB; }
INLINE bool half_block(int units) { return units - (blocks_of(units) - 1) * NB <= W; }

// One part (or one member of its team) at work.
struct Worker {
  const Call& call;
  const Plan& plan;
  const Part& part;
  const Space& own;       // of this pass
  const Space& forward;   // what the forward pass laid out
  Team team;
  bool backward;
  float* temps;
  const int* active;
  const long* offset;
  long origin;            // first row of the chunk: of planes that hold one chunk only
  int first;              // the step before which a state lies in front of the plane
  long now = -1;          // a session: the row at which this step's states lie; the last step's lie in the other half

  Worker(const Call& c, int index, const Team& t, bool back)
      : call(c), plan(*c.plan), part((*c.parts)[index]), own(back ? (*c.backward)[index] : (*c.forward)[index]),
        forward((*c.forward)[index]), team(t), backward(back), temps(own.temps + own.temps_size * (t.size > 1 ? t.id : 0)),
        active(part.active.data()), offset(part.offset.data()), origin(0), first(0) {
    if (team.size == 1) team.id = 0;
  }

  int units(int plane) const { return plan.units(plan.planes[plane].size); }
  const PlaneAt& at(int plane) const {
    const PlaneAt& mine = own.planes[plane];
    return mine.p ? mine : forward.planes[plane];
  }

  // The row of a plane at which step s begins.
  long row(const Operand& o, int s) const {
    long kept = plan.training ? 0 : origin;
    switch (plan.planes[o.plane].kind) {
      case GATE: case SAVED: case EXTERN: return offset[s] - kept;
      case STATE:
        if (now >= 0) return o.shift ? part.sequences - now : now;
        if (o.shift == 0) return part.sequences + offset[s] - kept;
        return s == first ? 0 : part.sequences + offset[s - 1] - kept;
      case DY: case GRAD: return offset[s] - origin;
      default: return 0;
    }
  }
  Register bind(const Operand& o, int s, int j, long m) const {
    const PlaneAt& a = at(o.plane);
    return {a.p + j * a.block + (row(o, s) + m) * a.row, a.block, a.row};
  }
  void share(int blocks, int* from, int* to) const {
    *from = blocks * team.id / team.size;
    *to = blocks * (team.id + 1) / team.size;
  }

  // Tensors to planes and back: each step's rows, units of one row in blocks.
  template <class F>
  void each_row(int s0, int s1, const Tensor& tensor, F f) const {
    const Sequences& q = *call.sequences;
    const int* sequence = part.sequence.data();
    const int* batch = q.batch.data();
    for (int s = s0; s < s1; s++)
      for (int r = 0; r < active[s]; r++) {
        if (team.size > 1 && (offset[s] + r) % team.size != team.id) continue;
        int i = sequence[r];
        f(offset[s] - offset[s0] + r, tensor.p + q.time(i, s) * tensor.time + batch[i] * tensor.batch);
      }
  }
  static void to_row(float* d, long block, const float* s, int n) {
    for (; n >= NB; n -= NB, s += NB, d += block) {
      store(d, load(s));
      store(d + W, load(s + W));
    }
    for (int i = 0; i < n; i++) d[i] = s[i];
  }
  static void from_row(float* d, const float* s, long block, int n) {
    for (; n >= NB; n -= NB, d += NB, s += block) {
      store(d, load(s));
      store(d + W, load(s + W));
    }
    for (int i = 0; i < n; i++) d[i] = s[i];
  }
  void pack(const Tensor& tensor, const PlaneAt& plane, long row0, int n, int s0, int s1) const {
    each_row(s0, s1, tensor, [&](long r, const float* s) {
      set_row(plane.p + (row0 + r) * NB, plane.block, tensor.p ? s : nullptr, n);
    });
  }
  // One row of a plane; where the plane has one number per row (no blocks), repeated over the lanes.
  static void set_row(float* d, long block, const float* s, int n) {
    if (!s) {
      zero_row(d, block, n);
    } else if (block == 0) {
      store(d, splat(*s));
      store(d + W, splat(*s));
    } else {
      to_row(d, block, s, n);
    }
  }
  static void zero_row(float* d, long block, int n) {
    for (; n > 0; n -= NB, d += block) memset(d, 0, sizeof(float) * NB);
  }
  void unpack(const Tensor& tensor, const PlaneAt& plane, long row0, int n, int s0, int s1) const {
    each_row(s0, s1, tensor, [&](long r, float* d) { from_row(d, plane.p + (row0 + r) * NB, plane.block, n); });
  }

  long panel_of(int inner) const { return (long)(call.half ? (inner + 1) / 2 * 2 : inner) * NB; }

  // Products with a weight from its `first` value on, packed as floats or as bfloat16.
  void multiply_packed(int m, int panels, int half_from, const Segment* segments, int count, int pack, long first,
                       long panel, Target* out) const {
    const void* b = call.packed[pack];
    if (call.half) multiply_long(m, panels, half_from, segments, count, (const Half*)b + first, panel, out, NB);
    else multiply_long(m, panels, half_from, segments, count, (const float*)b + first, panel, out, NB);
  }

  void product(const Product& p, int s, int m, int j, int jn, int half_at) const {
    Segment segments[SEGMENTS];
    Target targets[TARGETS];
    const Pack& pack = plan.packs[p.pack];
    for (int i = 0; i < p.inputs.count; i++) {
      const PlaneAt& a = at(p.inputs[i].plane);
      segments[i] = {a.p + row(p.inputs[i], s) * NB, a.block, units(p.inputs[i].plane)};
    }
    int outs = p.outputs.count;
    int together = larger(1, TARGETS / outs);
    long panel = panel_of(pack.inner);
    for (int r0 = 0; r0 < jn; r0 += together) {
      int n = smaller(together, jn - r0);
      for (int r = 0; r < n; r++)
        for (int g = 0; g < outs; g++) {
          const Output& o = p.outputs[g];
          Register c = bind(o.to, s, j + r0 + r, 0);
          Target& t = targets[r * outs + g];
          t = {c.p, nullptr, 0};
          if (o.init) {
            Register i = bind(o.from, s, j + r0 + r, 0);
            t.init = i.p;
            t.init_row = i.row;
          }
        }
      int half_from = half_at >= 0 && half_at < j + r0 + n ? larger(0, half_at - j - r0) * outs : n * outs;
      multiply_packed(m, n * outs, half_from, segments, p.inputs.count, p.pack, (long)(j + r0) * outs * panel, panel,
                      targets);
    }
  }

  void program(const Pointwise& p, int s, int m, int j, int jn) const {
    Register reg[48 + TEMPS];
    int rows = larger(1, TILE / NB);
    for (int m0 = 0; m0 < m; m0 += rows) {
      int mn = smaller(rows, m - m0);
      for (int k = 0; k < p.bindings.count; k++) reg[k] = bind(p.bindings[k], s, j, m0);
      for (int k = 0; k < p.temps; k++)
        reg[p.bindings.count + k] = {temps + (long)k * (TILE + 2 * NB), (long)mn * NB, NB};
      interpret(p.code.items, p.code.count, reg, jn, mn);
    }
  }

  void stage(const Stage& st, int s) const {
    int m = active[s];
    bool rows_first = st.reductions.count > 0;
    for (int i = 0; i < st.programs.count; i++) rows_first |= st.programs[i].size == ROW;
    if (rows_first) {
      if (team.id == 0) {
        for (int i = 0; i < st.reductions.count; i++) {
          const Reduction& r = st.reductions[i];
          reduce(r.op, bind(r.from, s, 0, 0), units(r.from.plane), bind(r.to, s, 0, 0), m);
        }
        for (int i = 0; i < st.programs.count; i++)
          if (st.programs[i].size == ROW) program(st.programs[i], s, m, 0, 1);
      }
      team.sync();
    }
    for (int size = 0; size < plan.sizes.count; size++) {
      bool any = false;
      for (int i = 0; i < st.products.count; i++) any |= plan.planes[st.products[i].outputs[0].to.plane].size == size;
      for (int i = 0; i < st.programs.count; i++) any |= st.programs[i].size == size;
      if (!any) continue;
      int n = plan.sizes[size], j0, j1;
      share(blocks_of(n), &j0, &j1);
      int half_at = half_block(n) ? blocks_of(n) - 1 : -1;
      int tile = larger(1, smaller(MOST_BLOCKS, TILE / (m * NB)));
      // To and fro, so that what a step leaves in the caches of large weights is where the next one begins.
      int tiles = (j1 - j0 + tile - 1) / tile;
      for (int k = 0; k < tiles; k++) {
        int j = j0 + tile * (s & 1 ? tiles - 1 - k : k);
        int jn = smaller(tile, j1 - j);
        for (int i = 0; i < st.products.count; i++)
          if (plan.planes[st.products[i].outputs[0].to.plane].size == size)
            product(st.products[i], s, m, j, jn, half_at);
        for (int i = 0; i < st.programs.count; i++)
          if (st.programs[i].size == size) program(st.programs[i], s, m, j, jn);
      }
    }
  }

  void step(const List<Stage>& stages, int s) const {
    for (int i = 0; i < stages.count; i++) {
      stage(stages[i], s);
      if (!plan.local) team.sync();
    }
  }

  // The vectors of the plan, padded to whole blocks; the sums of each gate's biases.
  void load_vectors() const {
    for (int i = 0; i < plan.planes.count; i++) {
      const Plane& p = plan.planes[i];
      if (p.kind != VECTOR) continue;
      int n = plan.sizes[p.size];
      float* d = own.planes[i].p;
      memcpy(d, call.vectors[p.source] + (long)p.source2 * n, sizeof(float) * n);
      for (int k = n; k < blocks_of(n) * NB; k++) d[k] = 0.0f;
    }
    for (int g = 0; g < plan.gates.count; g++) {
      float* d = own.gate_bias[g];
      if (!d) continue;
      const Gate& gate = plan.gates[g];
      int n = blocks_of(units(gate.plane)) * NB;
      for (int k = 0; k < n; k++) d[k] = 0.0f;
      for (int b = 0; b < gate.biases.count; b++)
        for (int k = 0; k < n; k++) d[k] += own.planes[gate.biases[b]].p[k];
    }
  }

  void load_rows(const PlaneAt& plane, const float* from, int n) const {  // [sequences, n] into the first rows
    for (int r = 0; r < part.sequences; r++) {
      set_row(plane.p + (long)r * NB, plane.block, from ? from + (long)part.sequence[r] * n : nullptr, n);
    }
  }

  // x's part of every gate for the rows of one chunk, block by block of units.
  void project(int s0, int s1) const {
    long rows = offset[s1] - offset[s0];
    int n = units(plan.gates[0].plane), gates = plan.gates.count, j0, j1;
    share(blocks_of(n), &j0, &j1);
    Segment segment = {own.x.p, own.x.block, plan.input_size};
    Target targets[TARGETS];
    long panel = panel_of(plan.input_size);
    long row0 = offset[s0] - (plan.training ? 0 : origin);
    for (int j = j0; j < j1; j++) {
      bool half = j == blocks_of(n) - 1 && half_block(n);
      for (int g0 = 0; g0 < gates; g0 += TARGETS) {
        int gn = smaller(TARGETS, gates - g0);
        for (int g = 0; g < gn; g++) {
          const PlaneAt& a = own.planes[plan.gates[g0 + g].plane];
          const float* bias = own.gate_bias[g0 + g];
          targets[g] = {a.p + j * a.block + row0 * NB, bias ? bias + j * NB : nullptr, 0};
        }
        multiply_packed((int)rows, gn, half ? 0 : gn, &segment, 1, 0, ((long)j * gates + g0) * panel, panel, targets);
      }
    }
  }

  void run_forward() {
    if (team.id == 0) {
      load_vectors();
      for (int f = 0; f < plan.states.count; f++)
        load_rows(own.planes[plan.states[f].plane], call.initial[f], units(plan.states[f].plane));
    }
    const int* chunks = part.chunks.data();
    int count = (int)part.chunks.size() - 1;
    const PlaneAt& out = own.planes[plan.states[0].plane];
    for (int c = 0; c < count; c++) {
      int s0 = chunks[c], s1 = chunks[c + 1];
      origin = offset[s0];
      if (!plan.training) first = s0;
      pack(call.x, own.x, 0, plan.input_size, s0, s1);
      long kept = plan.training ? 0 : origin;
      for (int i = 0; i < plan.planes.count; i++)
        if (plan.planes[i].kind == EXTERN)
          pack(call.externs[plan.planes[i].source], own.planes[i], offset[s0] - kept, units(i), s0, s1);
      team.sync();
      project(s0, s1);
      for (int s = s0; s < s1; s++) step(plan.forward, s);
      team.sync();
      unpack(call.y, out, part.sequences + offset[s0] - kept, units(plan.states[0].plane), s0, s1);
      if (!plan.training) keep_states(s0, s1);
    }
    if (team.id == 0) store_final();
  }

  // The last state of each row that ran in the chunk, to the front of its plane.
  void keep_states(int s0, int s1) const {
    team.sync();
    if (team.id == 0)
      for (int f = 0; f < plan.states.count; f++) {
        const PlaneAt& a = own.planes[plan.states[f].plane];
        int blocks = blocks_of(units(plan.states[f].plane));
        int last = s1 - 1;
        for (int r = 0; r < active[s0]; r++) {
          while (active[last] <= r) last--;
          const float* s = a.p + (part.sequences + offset[last] - origin + r) * NB;
          float* d = a.p + (long)r * NB;
          for (int b = 0; b < blocks; b++) memcpy(d + b * a.block, s + b * a.block, sizeof(float) * NB);
        }
      }
    team.sync();
  }

  void store_final() const {
    for (int f = 0; f < plan.states.count; f++) {
      if (!call.final[f]) continue;
      const PlaneAt& a = own.planes[plan.states[f].plane];
      int n = units(plan.states[f].plane);
      for (int r = 0; r < part.sequences; r++) {
        int length = call.sequences->length[part.sequence[r]];
        long row = plan.training && length ? part.sequences + offset[length - 1] + r : r;
        from_row(call.final[f] + (long)part.sequence[r] * n, a.p + row * NB, a.block, n);
      }
    }
  }

  // One step of a session: states go to and fro between the two halves of their planes.
  void run_step(long row_now) {
    now = row_now;
    pack(call.x, own.x, 0, plan.input_size, 0, 1);
    project(0, 1);
    step(plan.forward, 0);
    unpack(call.y, own.planes[plan.states[0].plane], now, units(plan.states[0].plane), 0, 1);
  }

  void load_states(long row_now) const {
    for (int f = 0; f < plan.states.count; f++) {
      PlaneAt a = own.planes[plan.states[f].plane];
      a.p += row_now * NB;
      load_rows(a, call.initial[f], units(plan.states[f].plane));
    }
  }

  void store_states(long row_now) const {
    for (int f = 0; f < plan.states.count; f++) {
      const PlaneAt& a = own.planes[plan.states[f].plane];
      int n = units(plan.states[f].plane);
      for (int r = 0; r < part.sequences; r++)
        from_row(call.final[f] + (long)part.sequence[r] * n, a.p + (row_now + r) * NB, a.block, n);
    }
  }

  void run_backward() {
    if (team.id == 0) {
      for (int f = 0; f < plan.states.count; f++)
        load_rows(own.planes[plan.states[f].carry], call.d_final[f], units(plan.states[f].plane));
      for (int i = 0; i < plan.planes.count; i++)
        if (plan.planes[i].kind == VECGRAD)
          memset(own.planes[i].p, 0, sizeof(float) * NB * blocks_of(plan.sizes[plan.planes[i].size]));
    }
    const int* chunks = part.back_chunks.data();
    for (int c = (int)part.back_chunks.size() - 2; c >= 0; c--) {
      int s0 = chunks[c], s1 = chunks[c + 1];
      origin = offset[s0];
      if (plan.dy >= 0) pack(call.dy, own.planes[plan.dy], 0, units(plan.dy), s0, s1);
      if (call.x.p && own.d_weights[0]) pack(call.x, own.x, 0, plan.input_size, s0, s1);
      team.sync();
      for (int s = s1 - 1; s >= s0; s--) step(plan.backward, s);
      team.sync();
      weight_gradients(s0, s1);
      vector_gradients(s0, s1);
      if (call.dx.p) input_gradient(s0, s1);
      team.sync();
    }
    if (team.id == 0) store_gradients();
  }

  // The gradients of two planes' products over the rows of a chunk, added to blocks of a weight.
  void outer(const PlaneAt& gradient, int rows_units, const float* argument, long argument_block, int columns, long n,
             float* to) const {
    int blocks = blocks_of(rows_units), j0, j1;
    share(blocks, &j0, &j1);
    const int group = 12;  // blocks of the gradient that stay in the second cache
    for (int jb = j0; jb < j1; jb += group)
      for (int i = 0; i < blocks_of(columns); i++)
        for (int j = jb; j < smaller(j1, jb + group); j++)
          outer_block(n, gradient.p + j * gradient.block, argument + i * argument_block,
                      to + ((long)j * NB * columns + (long)i * NB), columns, smaller(NB, rows_units - j * NB),
                      smaller(NB, columns - i * NB));
  }

  void weight_gradients(int s0, int s1) const {
    long n = offset[s1] - offset[s0];
    int hidden = units(plan.gates[0].plane), input = plan.input_size;
    if (own.d_weights[0])
      for (int g = 0; g < plan.gates.count; g++)
        outer(own.planes[plan.gate_gradients[g]], hidden, own.x.p, own.x.block, input, n,
              own.d_weights[0] + (long)g * hidden * input);
    Operand gathered = {-1, 0};
    for (int i = 0; i < plan.weight_gradients.count; i++) {
      const WeightGradient& w = plan.weight_gradients[i];
      if (!own.d_weights[w.slot]) continue;
      int block = plan.sizes[w.size], columns = units(w.argument.plane);
      const PlaneAt& a = at(w.argument.plane);
      const float* argument = a.p + row(w.argument, s0) * NB;
      long stride = a.block;
      bool whole = true;  // the argument's rows lie as the gradient's do
      for (int s = s0; s < s1; s++) whole &= row(w.argument, s) - row(w.argument, s0) == offset[s] - offset[s0];
      if (!whole) {
        if (gathered.plane != w.argument.plane || gathered.shift != w.argument.shift) {
          team.sync();
          gather(w.argument, s0, s1);
          team.sync();
          gathered = w.argument;
        }
        argument = own.argument.p;
        stride = own.argument.block;
      }
      outer(own.planes[w.gradient], block, argument, stride, columns, n,
            own.d_weights[w.slot] + (long)w.block * block * columns);
    }
  }

  void gather(const Operand& o, int s0, int s1) const {
    const PlaneAt& a = at(o.plane);
    int j0, j1;
    share(blocks_of(units(o.plane)), &j0, &j1);
    for (int j = j0; j < j1; j++)
      for (int s = s0; s < s1; s++)
        memcpy(own.argument.p + j * own.argument.block + (offset[s] - offset[s0]) * NB,
               a.p + j * a.block + row(o, s) * NB, sizeof(float) * NB * active[s]);
  }

  void vector_gradients(int s0, int s1) const {
    int n = (int)(offset[s1] - offset[s0]);
    for (int i = 0; i < plan.vector_gradients.count; i++) {
      const VectorGradient& v = plan.vector_gradients[i];
      if (!own.d_vectors[v.tensor]) continue;
      int count = units(v.gradient), j0, j1;
      share(blocks_of(count), &j0, &j1);
      const PlaneAt& a = own.planes[v.gradient];
      for (int j = j0; j < j1; j++) {
        float sum[NB] __attribute__((aligned(64))) = {0};
        Register d = {sum, 0, 0}, from = {a.p + j * a.block, 0, NB};
        accumulate<false>(d, from, from, 1, n);
        float* to = own.d_vectors[v.tensor] + (long)v.block * count + j * NB;
        for (int k = 0; k < smaller(NB, count - j * NB); k++) to[k] += sum[k];
      }
    }
  }

  void input_gradient(int s0, int s1) const {
    int n = plan.input_size, gates = plan.gates.count, j0, j1;
    Segment segments[SEGMENTS];
    for (int g = 0; g < gates; g++) {
      const PlaneAt& a = own.planes[plan.gate_gradients[g]];
      segments[g] = {a.p, a.block, units(plan.gates[0].plane)};
    }
    const Pack& pack = plan.packs[1];
    long panel = (long)pack.inner * NB;
    share(blocks_of(n), &j0, &j1);
    for (int j = j0; j < j1; j++) {
      Target target = {own.dx.p + j * own.dx.block, nullptr, 0};
      bool half = j == blocks_of(n) - 1 && half_block(n);
      multiply_long((int)(offset[s1] - offset[s0]), 1, half ? 0 : 1, segments, gates, (const float*)call.packed[1] + j * panel, panel,
                    &target, NB);
    }
    team.sync();
    unpack(call.dx, own.dx, 0, n, s0, s1);
  }

  void store_gradients() const {
    for (int f = 0; f < plan.states.count; f++) {
      if (!call.d_initial[f]) continue;
      const PlaneAt& a = own.planes[plan.states[f].carry];
      int n = units(plan.states[f].plane);
      for (int r = 0; r < part.sequences; r++)
        from_row(call.d_initial[f] + (long)part.sequence[r] * n, a.p + (long)r * NB, a.block, n);
    }
    for (int i = 0; i < plan.planes.count; i++) {
      const Plane& p = plan.planes[i];
      if (p.kind != VECGRAD || !own.d_vectors[p.source]) continue;
      int n = plan.sizes[p.size];
      float* d = own.d_vectors[p.source] + (long)p.source2 * n;
      for (int k = 0; k < n; k++) d[k] += own.planes[i].p[k];
    }
  }
};

}  // namespace UNROLLED_ISA
}  // namespace unrolled
