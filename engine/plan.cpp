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

// Reads the integers of docs/explanation/engine.md in order; anything out of range is refused.
struct Decoder {
  Plan& plan;
  const std::vector<int64_t>& ints;
  const std::vector<double>& floats;
  size_t at = 0, float_at = 0;

  [[noreturn]] static void refuse(const std::string& what) { throw std::invalid_argument("not a plan of this engine: " + what); }

  int number(int64_t low, int64_t high, const char* what) {
    if (at >= ints.size()) refuse(std::string("ends before ") + what);
    int64_t value = ints[at++];
    if (value < low || value > high) refuse(std::string(what) + " is " + std::to_string(value));
    return (int)value;
  }
  int count(const char* what) { return number(0, 4096, what); }
  int plane(const char* what) { return number(0, plan.planes.count - 1, what); }
  Operand operand(const char* what) {
    int p = plane(what);
    int shift = number(-1, 0, "shift");
    if (shift && plan.planes[p].kind != STATE) refuse("a shift on a plane that is no state");
    return {p, shift};
  }
  int units(const Operand& o) { return plan.units(plan.planes[o.plane].size); }

  void product(Product& p) {
    p.weight = number(0, 63, "weight");
    p.transposed = number(0, 1, "transposed");
    p.block_size = number(0, plan.sizes.count - 1, "block size");
    p.blocks = plan.list<int>(count("blocks"));
    for (int i = 0; i < p.blocks.count; i++) p.blocks[i] = number(0, 63, "block");
    p.inputs = plan.list<Operand>(count("inputs"));
    for (int i = 0; i < p.inputs.count; i++) p.inputs[i] = operand("input");
    p.outputs = plan.list<Output>(count("outputs"));
    for (int i = 0; i < p.outputs.count; i++) {
      Output& o = p.outputs[i];
      o.to = operand("output");
      o.init = number(0, 2, "init");
      if (o.init) {
        o.from = operand("init plane");
      } else {
        o.from = {number(-1, plan.planes.count - 1, "init plane"), number(-1, 0, "shift")};
      }
    }
    bool fits = p.transposed ? p.outputs.count == 1 && p.inputs.count == p.blocks.count
                             : p.inputs.count == 1 && p.outputs.count == p.blocks.count;
    if (!fits || p.blocks.count == 0) refuse("a product whose blocks do not fit");
    int block = plan.sizes[p.block_size];
    for (int i = 0; i < (p.transposed ? p.inputs.count : p.outputs.count); i++)
      if (units(p.transposed ? p.inputs[i] : p.outputs[i].to) != block) refuse("a product's block size");
    p.pack = pack(p.weight, p.transposed, block, p.blocks,
                  p.transposed ? block * p.blocks.count : units(p.inputs[0]),
                  p.transposed ? units(p.outputs[0].to) : block);
    if (p.weight >= plan.weights) plan.weights = p.weight + 1;
  }

  std::vector<Pack> packs;
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
    for (int i = 0; i < p.bindings.count; i++) p.bindings[i] = operand("binding");
    p.temps = number(0, 24, "temps");
    p.code = plan.list<Instruction>(count("code"));
    int last = p.bindings.count + p.temps - 1;
    for (int i = 0; i < p.code.count; i++) {
      Instruction& n = p.code[i];
      n.op = number(0, OPS - 1, "op");
      n.d = number(0, last, "register");
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
        if (plan.planes[r.to.plane].size != ROW) refuse("a reduction into units");
      }
      s.programs = plan.list<Pointwise>(count("programs"));
      for (int k = 0; k < s.programs.count; k++) pointwise(s.programs[k]);
      if (s.products.count || s.reductions.count) plan.local = false;
    }
    return made;
  }

  void decode() {
    if (number(0, 1 << 20, "version") != 1) refuse("another version");
    plan.training = number(0, 1, "training");
    plan.sizes = plan.list<int>(count("sizes"));
    for (int i = 0; i < plan.sizes.count; i++) plan.sizes[i] = number(1, 1 << 24, "size");
    plan.planes = plan.list<Plane>(count("planes"));
    for (int i = 0; i < plan.planes.count; i++) {
      Plane& p = plan.planes[i];
      p.kind = number(0, KINDS - 1, "kind");
      p.size = number(-1, plan.sizes.count - 1, "size");
      p.source = number(-1, 4096, "source");
      p.source2 = number(-1, 4096, "source");
      if (p.kind == VECTOR || p.kind == VECGRAD) {
        if (p.source < 0 || p.source2 < 0 || p.size < 0) refuse("a vector without source");
        if (p.source >= plan.vectors) plan.vectors = p.source + 1;
      }
      if (p.kind == EXTERN && p.source >= plan.externs) plan.externs = p.source + 1;
    }
    plan.gates = plan.list<Gate>(count("gates"));
    for (int i = 0; i < plan.gates.count; i++) {
      plan.gates[i].plane = plane("gate");
      plan.gates[i].biases = plan.list<int>(count("biases"));
      for (int k = 0; k < plan.gates[i].biases.count; k++) plan.gates[i].biases[k] = plane("bias");
    }
    if (plan.gates.count == 0) refuse("no gate");
    int hidden = plan.units(plan.planes[plan.gates[0].plane].size);
    List<int> all = plan.list<int>(plan.gates.count);
    for (int i = 0; i < all.count; i++) {
      all[i] = i;
      if (plan.units(plan.planes[plan.gates[i].plane].size) != hidden) refuse("gates of different sizes");
    }
    pack(0, 0, hidden, all, plan.input_size, hidden);
    if (plan.training) pack(0, 1, hidden, all, hidden * all.count, plan.input_size);
    plan.weights = 1;
    plan.states = plan.list<State>(count("states"));
    for (int i = 0; i < plan.states.count; i++) {
      plan.states[i].plane = plane("state");
      plan.states[i].carry = number(-1, plan.planes.count - 1, "carry");
      if (plan.training && plan.states[i].carry < 0) refuse("a state without gradient");
    }
    if (plan.states.count == 0) refuse("no state");
    plan.dy = number(-1, plan.planes.count - 1, "dy");
    plan.forward = stages();
    plan.backward = stages();
    plan.gate_gradients = plan.list<int>(count("gate gradients"));
    for (int i = 0; i < plan.gate_gradients.count; i++) plan.gate_gradients[i] = plane("gate gradient");
    if (plan.training && plan.gate_gradients.count != plan.gates.count) refuse("gates without gradients");
    plan.weight_gradients = plan.list<WeightGradient>(count("weight gradients"));
    for (int i = 0; i < plan.weight_gradients.count; i++) {
      WeightGradient& g = plan.weight_gradients[i];
      g.slot = number(1, 63, "slot");
      g.block = number(0, 63, "block");
      g.size = number(0, plan.sizes.count - 1, "size");
      g.gradient = plane("gradient");
      g.argument = operand("argument");
    }
    plan.vector_gradients = plan.list<VectorGradient>(count("vector gradients"));
    for (int i = 0; i < plan.vector_gradients.count; i++) {
      VectorGradient& g = plan.vector_gradients[i];
      g.tensor = number(0, 4096, "tensor");
      g.block = number(0, 4096, "block");
      g.gradient = plane("gradient");
      if (g.tensor >= plan.vectors) plan.vectors = g.tensor + 1;
    }
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
