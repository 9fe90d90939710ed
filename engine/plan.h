// A plan: what one step of a cell computes, forward and backward, as the compiler of cells hands it over.
//
// See docs/explanation/engine.md for what planes, stages and shifts are. Plain data, decoded and checked once.
#pragma once
#include <stdint.h>

#include <string>
#include <vector>

namespace unrolled {

enum Kind {
  GATE, STATE, SAVED, STEP, VECTOR, EXTERN, DY, GRAD, CARRY, BSTEP, VECGRAD, KINDS
};
constexpr int ROW = -1;  // the size of a value that has one number per row

enum Op {
  COPY, ADD, SUB, MUL, DIV, FMA, FNMA, FMS, ADDC, MULC, RSUBC, CONST, SIGMOID, TANH, RELU, EXP, LOG, LOG1P, SQRT,
  RSQRT, ABS, RECIP, MAX, MIN, MAXC, MINC, LT, LE, EQ, LTC, LEC, EQC, GTC, GEC, WHERE, DSIGMOID, DTANH, DRELU,
  LERP, SOFTPLUS, VECACC, VECSUM, NEG, DABS, OPS
};

// A list without a type of its own code: the sources for each instruction set share no out-of-line templates.
template <class T>
struct List {
  T* items = nullptr;
  int count = 0;
  __attribute__((always_inline)) T& operator[](int i) const { return items[i]; }
};

struct Plane { int kind, size, source, source2; };
struct Operand { int plane, shift; };
struct Output { Operand to; int init; Operand from; };  // init: 0 none, 1 a plane, 2 a vector
struct Product {
  int weight, transposed, block_size;
  List<int> blocks;
  List<Operand> inputs;
  List<Output> outputs;
  int pack;  // index into Plan::packs
};
struct Reduction { int op; Operand from, to; };  // op: 0 sum, 1 mean, 2 max
struct Instruction { int op, d, a, b, c; float imm; };
struct Pointwise {
  int size;
  List<Operand> bindings;
  int temps;
  List<Instruction> code;
};
struct Stage {
  List<Product> products;
  List<Reduction> reductions;
  List<Pointwise> programs;
};
struct Gate { int plane; List<int> biases; };
struct State { int plane, carry; };
struct WeightGradient { int slot, block, size, gradient; Operand argument; };
struct VectorGradient { int tensor, block, gradient; };

// How one weight is packed for a product: which row blocks, as they are or transposed.
struct Pack {
  int weight, transposed;
  int block_units;       // rows of a block
  List<int> blocks;
  int inner;             // length of the sums (K)
  int outer;             // units of one output
};

struct Plan {
  bool training;
  int input_size;
  List<int> sizes;
  List<Plane> planes;
  List<Gate> gates;
  List<State> states;
  int dy;
  List<Stage> forward, backward;
  List<int> gate_gradients;
  List<WeightGradient> weight_gradients;
  List<VectorGradient> vector_gradients;
  List<Pack> packs;      // 0: the input projection; 1: its transpose (training)
  int weights, vectors, externs;
  bool local;            // no product and no reduction: units never see each other within a step

  Plan(const std::vector<int64_t>& ints, const std::vector<double>& floats, int input_size);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  int units(int size) const { return size == ROW ? 1 : sizes[size]; }

 private:
  std::vector<void*> owned_;
  template <class T>
  List<T> list(int count);
  friend struct Decoder;
};

}  // namespace unrolled
