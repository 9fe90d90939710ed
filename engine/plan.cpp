#include "plan.h"

#include <stdexcept>

namespace unrolled {

template <class T>
List<T> Plan::list(int count) {
  List<T> made;
  made.items = new T[count > 0 ? count : 1]();
  made.count = count;
  owned_.push_back(made.items);
  return made;
}

constexpr int MOST_OPERANDS = 64;  // gates, and of one product: what Worker has room for

// Reads the integers of docs/explanation/engine.md in order; anything out of range is refused.
struct Decoder {
  Plan& plan;
  const std::vector<int64_t>& ints;
  const std::vector<double>& floats;
  size_t at = 0, float_at = 0;
  bool backward = false;          // the pass that is read
  std::vector<int> columns = {};  // of each weight; 0: not known yet
  std::vector<Pack> packs = {};

  [[noreturn]] static void refuse(const std::string& what) { throw std::invalid_argument("not a plan of this engine: " + what); }

  int number(int64_t low, int64_t high, const char* what) {
    if (at >= ints.size()) refuse(std::string("ends before ") + what);
    int64_t value = ints[at++];
    if (value < low || value > high) refuse(std::string(what) + " is " + std::to_string(value));
    return (int)value;
  }
  int count(const char* what) { return number(0, 4096, what); }
  int plane(const char* what) { return number(0, plan.planes.count - 1, what); }
  int plane(int kind, const char* what) {
    int p = plane(what);
    if (plan.planes[p].kind != kind) refuse(std::string(what) + " is a plane of another kind");
    return p;
  }
  Operand operand(const char* what) {
    int p = plane(what);
    int shift = number(-1, 0, "shift");
    if (shift && plan.planes[p].kind != STATE) refuse("a shift on a plane that is no state");
    if (!backward && plan.planes[p].kind >= DY) refuse(std::string(what) + " belongs to the backward pass");
    return {p, shift};
  }
  int units(const Operand& o) { return units(o.plane); }
  int units(int p) { return plan.units(plan.planes[p].size); }
  bool one_row(const Operand& o) { return plan.planes[o.plane].kind == VECTOR || plan.planes[o.plane].kind == VECGRAD; }
  bool per_row(const Operand& o) { return plan.planes[o.plane].size == ROW; }

  void product(Product& p) {
    p.weight = number(1, 63, "weight");
    p.transposed = number(backward, backward, "transposed");  // each pass has its weights packed in one way
    p.block_size = number(0, plan.sizes.count - 1, "block size");
    p.blocks = plan.list<int>(number(1, MOST_OPERANDS, "blocks"));
    for (int i = 0; i < p.blocks.count; i++) p.blocks[i] = number(0, 63, "block");
    p.inputs = plan.list<Operand>(number(1, MOST_OPERANDS, "inputs"));
    for (int i = 0; i < p.inputs.count; i++) {
      p.inputs[i] = operand("input");
      if (one_row(p.inputs[i])) refuse("a product of a vector");
    }
    p.outputs = plan.list<Output>(number(1, MOST_OPERANDS, "outputs"));
    for (int i = 0; i < p.outputs.count; i++) {
      Output& o = p.outputs[i];
      o.to = operand("output");
      o.init = number(0, 2, "init");
      if (o.init) {
        o.from = operand("init plane");
      } else {
        o.from = {number(-1, plan.planes.count - 1, "init plane"), number(-1, 0, "shift")};
      }
      if (one_row(o.to) || per_row(o.to)) refuse("a product into a vector or a number per row");
      if (o.init && !per_row(o.from) && units(o.from) != units(o.to)) refuse("a product from a plane of another size");
    }
    bool fits = p.transposed ? p.outputs.count == 1 && p.inputs.count == p.blocks.count
                             : p.inputs.count == 1 && p.outputs.count == p.blocks.count;
    if (!fits) refuse("a product whose blocks do not fit");
    int block = plan.sizes[p.block_size];
    for (int i = 0; i < (p.transposed ? p.inputs.count : p.outputs.count); i++)
      if (units(p.transposed ? p.inputs[i] : p.outputs[i].to) != block) refuse("a product's block size");
    p.pack = pack(p.weight, p.transposed, block, p.blocks,
                  p.transposed ? block * p.blocks.count : units(p.inputs[0]),
                  p.transposed ? units(p.outputs[0].to) : block);
    if (p.weight >= plan.weights) plan.weights = p.weight + 1;
    int wide = p.transposed ? packs[p.pack].outer : packs[p.pack].inner;
    if ((int)columns.size() <= p.weight) columns.resize(p.weight + 1, 0);
    if (columns[p.weight] && columns[p.weight] != wide) refuse("a weight of two widths");
    columns[p.weight] = wide;
  }

  int pack(int weight, int transposed, int block, const List<int>& blocks, int inner, int outer) {
    for (size_t i = 0; i < packs.size(); i++) {
      const Pack& k = packs[i];
      bool same = k.weight == weight && k.transposed == transposed && k.block_units == block &&
                  k.inner == inner && k.outer == outer && k.blocks.count == blocks.count;
      for (int b = 0; same && b < blocks.count; b++) same = k.blocks[b] == blocks[b];
      if (same) return (int)i;
    }
    packs.push_back({weight, transposed, block, blocks, inner, outer});
    return (int)packs.size() - 1;
  }

  void pointwise(Pointwise& p) {
    p.size = number(-1, plan.sizes.count - 1, "program size");
    p.bindings = plan.list<Operand>(number(0, 48, "bindings"));
    for (int i = 0; i < p.bindings.count; i++) {
      p.bindings[i] = operand("binding");
      if (!per_row(p.bindings[i]) && (p.size == ROW || units(p.bindings[i]) != plan.sizes[p.size]))
        refuse("a program over a plane of another size");
    }
    p.temps = number(0, 24, "temps");
    p.code = plan.list<Instruction>(count("code"));
    int last = p.bindings.count + p.temps - 1;
    for (int i = 0; i < p.code.count; i++) {
      Instruction& n = p.code[i];
      n.op = number(0, OPS - 1, "op");
      n.d = number(0, last, "register");
      bool sums = n.op == VECACC || n.op == VECSUM;
      int kind = n.d < p.bindings.count ? plan.planes[p.bindings[n.d].plane].kind : STEP;
      if (sums != (kind == VECGRAD) || kind == VECTOR) refuse("an instruction that writes to a vector, or sums elsewhere");
      if (p.size != ROW && n.d < p.bindings.count && per_row(p.bindings[n.d])) refuse("units written to a number per row");
      n.a = number(0, last, "register");
      n.b = number(0, last, "register");
      n.c = number(0, last, "register");
      if (float_at >= floats.size()) refuse("ends before an immediate");
      n.imm = (float)floats[float_at++];
    }
  }

  List<Stage> stages() {
    List<Stage> made = plan.list<Stage>(count("stages"));
    for (int i = 0; i < made.count; i++) {
      Stage& s = made[i];
      s.products = plan.list<Product>(count("products"));
      for (int k = 0; k < s.products.count; k++) product(s.products[k]);
      s.reductions = plan.list<Reduction>(count("reductions"));
      for (int k = 0; k < s.reductions.count; k++) {
        Reduction& r = s.reductions[k];
        r.op = number(0, 2, "reduction");
        r.from = operand("reduction's source");
        r.to = operand("reduction's result");
        if (!per_row(r.to) || per_row(r.from)) refuse("a reduction that is not of units to a number per row");
      }
      s.programs = plan.list<Pointwise>(count("programs"));
      for (int k = 0; k < s.programs.count; k++) {
        pointwise(s.programs[k]);
        if (s.programs[k].size == ROW) plan.local = false;
      }
      if (s.products.count || s.reductions.count) plan.local = false;
    }
    return made;
  }

  void decode() {
    if (number(0, 1 << 20, "version") != 1) refuse("another version");
    plan.training = number(0, 1, "training");
    plan.sizes = plan.list<int>(count("sizes"));
    for (int i = 0; i < plan.sizes.count; i++) plan.sizes[i] = number(1, 1 << 20, "size");
    plan.planes = plan.list<Plane>(count("planes"));
    for (int i = 0; i < plan.planes.count; i++) {
      Plane& p = plan.planes[i];
      p.kind = number(0, KINDS - 1, "kind");
      p.size = number(-1, plan.sizes.count - 1, "size");
      p.source = number(-1, 4096, "source");
      p.source2 = number(-1, 4096, "source");
      bool vector = p.kind == VECTOR || p.kind == VECGRAD;
      if ((vector || p.kind == GATE) && p.size == ROW) refuse("a number per row where there are units");
      if (p.kind == EXTERN && p.source < 0) refuse("an extern without source");
      if (vector) {
        if (p.source < 0 || p.source2 < 0) refuse("a vector without source");
        if (p.source >= plan.vectors) plan.vectors = p.source + 1;
      }
      if (p.kind == EXTERN && p.source >= plan.externs) plan.externs = p.source + 1;
    }
    plan.gates = plan.list<Gate>(number(1, MOST_OPERANDS, "gates"));
    List<int> all = plan.list<int>(plan.gates.count);
    int hidden = 0;
    for (int i = 0; i < plan.gates.count; i++) {
      Gate& gate = plan.gates[i];
      all[i] = i;
      gate.plane = plane(GATE, "gate");
      if (i == 0) hidden = units(gate.plane);
      if (units(gate.plane) != hidden) refuse("gates of different sizes");
      gate.biases = plan.list<int>(count("biases"));
      for (int k = 0; k < gate.biases.count; k++) {
        gate.biases[k] = plane(VECTOR, "bias");
        if (units(gate.biases[k]) != hidden) refuse("a bias of another size");
      }
    }
    pack(0, 0, hidden, all, plan.input_size, hidden);
    if (plan.training) pack(0, 1, hidden, all, hidden * all.count, plan.input_size);
    plan.weights = 1;
    columns = {plan.input_size};
    plan.states = plan.list<State>(count("states"));
    for (int i = 0; i < plan.states.count; i++) {
      State& state = plan.states[i];
      state.plane = plane(STATE, "state");
      state.carry = plan.training ? plane(CARRY, "carry") : number(-1, -1, "carry");
      if (plan.training && plan.planes[state.carry].size != plan.planes[state.plane].size) refuse("a gradient of another size than its state");
    }
    if (plan.states.count == 0) refuse("no state");
    plan.dy = number(-1, plan.planes.count - 1, "dy");
    if (plan.dy >= 0 && (plan.planes[plan.dy].kind != DY || plan.planes[plan.dy].size != plan.planes[plan.states[0].plane].size)) refuse("dy");
    plan.forward = stages();
    backward = true;
    plan.backward = stages();
    plan.gate_gradients = plan.list<int>(count("gate gradients"));
    for (int i = 0; i < plan.gate_gradients.count; i++) {
      plan.gate_gradients[i] = plane(GRAD, "gate gradient");
      if (units(plan.gate_gradients[i]) != hidden) refuse("a gate's gradient of another size");
    }
    if (plan.gate_gradients.count != (plan.training ? plan.gates.count : 0)) refuse("gates without gradients");
    plan.weight_gradients = plan.list<WeightGradient>(count("weight gradients"));
    for (int i = 0; i < plan.weight_gradients.count; i++) {
      WeightGradient& g = plan.weight_gradients[i];
      g.slot = number(1, plan.weights - 1, "slot");
      g.block = number(0, 63, "block");
      g.size = number(0, plan.sizes.count - 1, "size");
      g.gradient = plane(GRAD, "gradient");
      g.argument = operand("argument");
      int kind = plan.planes[g.argument.plane].kind;
      if (kind != STATE && kind != SAVED && kind != GATE && kind != EXTERN) refuse("an argument that is not kept");
      if (units(g.gradient) != plan.sizes[g.size] || units(g.argument) != columns[g.slot]) refuse("a weight's gradient of another size");
    }
    plan.vector_gradients = plan.list<VectorGradient>(count("vector gradients"));
    for (int i = 0; i < plan.vector_gradients.count; i++) {
      VectorGradient& g = plan.vector_gradients[i];
      g.tensor = number(0, 4096, "tensor");
      g.block = number(0, 4096, "block");
      g.gradient = plane(GRAD, "gradient");
      if (g.tensor >= plan.vectors) plan.vectors = g.tensor + 1;
    }
    if (!plan.training && (plan.backward.count || plan.weight_gradients.count || plan.vector_gradients.count))
      refuse("gradients without training");
    if (at != ints.size() || float_at != floats.size()) refuse("goes on after its end");
    plan.packs = plan.list<Pack>((int)packs.size());
    for (size_t i = 0; i < packs.size(); i++) plan.packs[(int)i] = packs[i];
  }
};

Plan::Plan(const std::vector<int64_t>& ints, const std::vector<double>& floats, int input)
    : training(false), input_size(input), dy(-1), weights(0), vectors(0), externs(0), local(true) {
  if (input < 1) throw std::invalid_argument("input_size must be at least 1");
  try {
    Decoder{*this, ints, floats}.decode();
  } catch (...) {
    for (void* p : owned_) ::operator delete[](p);
    throw;
  }
}

Plan::~Plan() {
  for (void* p : owned_) ::operator delete[](p);
}

}  // namespace unrolled
