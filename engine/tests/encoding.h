// The encoding of a plan, and a cell as two of them.
#pragma once
#include <functional>

#include "check.h"
#include "executable.h"

typedef std::vector<int64_t> Ints;

struct Encoded {
  Ints ints;
  Doubles floats;
};

typedef std::vector<Doubles> Tensors;

struct Cell {
  const char* name;
  int input;
  std::vector<int> weights, vectors, externs, states;  // elements; elements; units; units
  Encoded inference, training;
  std::function<void(const Tensors& weights, const Tensors& vectors, const double* x, const double* const* externs,
                     const Tensors& before, Tensors& after)>
      step;
};

struct Code {
  int op, d, a, b, c;
  double imm;
};

// The lists of docs/explanation/engine.md: a count, then the items.
struct Encoder {
  Encoded made;

  static Ints list(const std::vector<Ints>& items) {
    Ints all{(int64_t)items.size()};
    for (const Ints& item : items) all.insert(all.end(), item.begin(), item.end());
    return all;
  }
  static Ints numbers(const Ints& items) {
    Ints all{(int64_t)items.size()};
    all.insert(all.end(), items.begin(), items.end());
    return all;
  }
  static Ints join(const std::vector<Ints>& parts) {
    Ints all;
    for (const Ints& part : parts) all.insert(all.end(), part.begin(), part.end());
    return all;
  }
  static Ints product(int weight, int transposed, int size, const Ints& blocks, const std::vector<Ints>& inputs,
                      const std::vector<Ints>& outputs) {
    return join({{weight, transposed, size}, numbers(blocks), list(inputs), list(outputs)});
  }
  Ints program(int size, const std::vector<Ints>& bindings, int temps, const std::vector<Code>& code) {
    std::vector<Ints> items;
    for (const Code& c : code) {
      items.push_back({c.op, c.d, c.a, c.b, c.c});
      made.floats.push_back(c.imm);
    }
    return join({{size}, list(bindings), {temps}, list(items)});
  }
  static Ints stage(const std::vector<Ints>& products, const std::vector<Ints>& reductions,
                    const std::vector<Ints>& programs) {
    return join({list(products), list(reductions), list(programs)});
  }
  void add(const Ints& ints) { made.ints.insert(made.ints.end(), ints.begin(), ints.end()); }
};
