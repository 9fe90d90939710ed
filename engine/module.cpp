// The Python module unrolled._engine: plain addresses in, numbers out. Shapes and types are checked by its caller,
// unrolled.kernels.engine.
#include <nanobind/nanobind.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "executable.h"
#include "memory.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace unrolled;

namespace {

std::shared_ptr<Sequences> even(int steps, int batch, bool reverse) {
  auto made = std::make_shared<Sequences>();
  made->reverse = reverse;
  for (int b = 0; b < batch; b++) {
    made->batch.push_back(b);
    made->start.push_back(0);
    made->length.push_back(steps);
  }
  return made;
}

std::shared_ptr<Sequences> pieces(std::vector<int> batch, std::vector<int> start, std::vector<int> length, bool reverse) {
  if (batch.size() != start.size() || batch.size() != length.size()) throw std::invalid_argument("pieces of different counts");
  auto made = std::make_shared<Sequences>();
  made->reverse = reverse;
  made->batch = std::move(batch);
  made->start = std::move(start);
  made->length = std::move(length);
  for (int n : made->length)
    if (n < 0) throw std::invalid_argument("a negative length");
  return made;
}

// A matrix [outer, inner] packed for products with it (by rows), or with its transpose (by columns).
struct Matrix {
  const Isa* isa;
  bool transposed;
  int outer, inner;
  Floats memory;
  Matrix(uintptr_t weight, int outer_, int inner_, bool transposed_)
      : isa(&unrolled::isa()), transposed(transposed_), outer(outer_), inner(inner_) {
    int zero = 0;
    Pack p{};
    p.transposed = transposed;
    p.block_units = outer;
    p.blocks.items = &zero;
    p.blocks.count = 1;
    p.inner = transposed ? outer : inner;
    p.outer = transposed ? inner : outer;
    memory = Floats(pack_size(p, isa->lanes));
    isa->pack(p, (const float*)weight, memory.get());
  }
  Matrix(const Matrix&) = delete;
};

// A bias padded with zeros to whole panels.
std::vector<float> padded(uintptr_t bias, int count) {
  std::vector<float> made;
  if (bias) {
    made.assign((const float*)bias, (const float*)bias + count);
    made.resize((count + 31) / 32 * 32, 0.0f);
  }
  return made;
}

void linear(const Matrix& matrix, uintptr_t x, long x_row, long rows, uintptr_t bias, uintptr_t y, long y_row, int threads) {
  Dense d;
  d.x = (const float*)x;
  d.x_row = x_row;
  d.rows = rows;
  d.inner = matrix.transposed ? matrix.outer : matrix.inner;
  d.outer = matrix.transposed ? matrix.inner : matrix.outer;
  d.packed = matrix.memory.get();
  std::vector<float> wide = padded(bias, d.outer);
  d.bias = bias ? wide.data() : nullptr;
  d.y = (float*)y;
  d.y_row = y_row;
  run_dense(*matrix.isa, d, threads);
}

void linear_gradient(uintptr_t x, long x_row, uintptr_t dy, long dy_row, long rows, int inner, int outer,
                     uintptr_t d_weight, uintptr_t d_bias, int threads) {
  Dense d;
  d.what = Dense::WEIGHT_GRADIENT;
  d.x = (const float*)x;
  d.x_row = x_row;
  d.y = (float*)dy;
  d.y_row = dy_row;
  d.rows = rows;
  d.inner = inner;
  d.outer = outer;
  d.d_weight = (float*)d_weight;
  d.d_bias = (float*)d_bias;
  run_dense(isa(), d, threads);
}

void cross_entropy(const Matrix& matrix, const Matrix* back, uintptr_t h, long h_row, long rows, uintptr_t bias,
                   uintptr_t targets, float smoothing, uintptr_t losses, uintptr_t dh, uintptr_t d_weight, uintptr_t d_bias,
                   int threads) {
  if (dh && !back) throw std::invalid_argument("gradients need the weight packed by columns too");
  Dense d;
  d.what = Dense::CROSS_ENTROPY;
  d.x = (const float*)h;
  d.x_row = h_row;
  d.rows = rows;
  d.inner = matrix.inner;
  d.outer = matrix.outer;
  d.packed = matrix.memory.get();
  d.packed_back = back ? back->memory.get() : nullptr;
  std::vector<float> wide = padded(bias, d.outer);
  d.bias = bias ? wide.data() : nullptr;
  d.targets = (const int64_t*)targets;
  d.smoothing = smoothing;
  d.losses = (float*)losses;
  d.y = (float*)dh;
  d.y_row = matrix.inner;
  d.d_weight = (float*)d_weight;
  d.d_bias = (float*)d_bias;
  run_dense(*matrix.isa, d, threads);
}

}  // namespace

NB_MODULE(_engine, m) {
  nb::set_leak_warnings(false);  // caches of executables live until the interpreter ends
  m.doc() = "The native engine: see unrolled.kernels.engine.";
  nb::class_<Sequences>(m, "Sequences", "Which steps of which batch entries run")
      .def_static("even", &even, "steps"_a, "batch"_a, "reverse"_a)
      .def_static("pieces", &pieces, "batch"_a, "start"_a, "length"_a, "reverse"_a)
      .def_prop_ro("count", [](const Sequences& s) { return s.length.size(); });
  nb::class_<Packs>(m, "Packs", "Packed weights")
      .def_prop_ro("isa", [](const Packs& p) { return std::string(p.isa->name); })
      .def_ro("half", &Packs::half);
  nb::class_<Saved>(m, "Saved", "What a training forward leaves for its backward")
      .def_prop_ro("bytes", &Saved::bytes);
  nb::class_<Executable>(m, "Executable", "A plan made ready to run")
      .def("__init__",
           [](Executable*, const std::vector<int64_t>&, const std::vector<double>&, int) {
             throw std::invalid_argument("made by Executable.make");
           })
      .def_static("make",
                  [](const std::vector<int64_t>& ints, const std::vector<double>& floats, int input_size) {
                    return std::make_shared<Executable>(ints, floats, input_size);
                  },
                  "ints"_a, "floats"_a, "input_size"_a)
      .def("pack", &Executable::pack, "weights"_a, "transposed"_a, "half"_a = false, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("counts", [](const Executable& e) { return std::make_tuple(e.plan.weights, e.plan.vectors, e.plan.externs, e.plan.states.count); },
                   "Weights, vectors, externs and states of the plan")
      .def("forward", &Executable::forward, "sequences"_a, "packs"_a, "arguments"_a, "threads"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("backward", &Executable::backward, "saved"_a, "packs"_a, "arguments"_a, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<Stepper>(m, "Stepper", "A stream through a stack of layers")
      .def(nb::init<std::vector<std::shared_ptr<Executable>>, int>(), "layers"_a, "batch"_a)
      .def("set_parameters", &Stepper::set_parameters, "layer"_a, "packs"_a, "vectors"_a)
      .def("watch", &Stepper::watch, "weights"_a)
      .def("step", [](Stepper& s, uintptr_t x, uintptr_t y) { return s.step((const float*)x, (float*)y); })
      .def("load", &Stepper::load, "states"_a)
      .def("store", &Stepper::store, "states"_a);
  nb::class_<Matrix>(m, "Matrix", "A packed matrix")
      .def(nb::init<uintptr_t, int, int, bool>(), "weight"_a, "outer"_a, "inner"_a, "transposed"_a, nb::call_guard<nb::gil_scoped_release>());
  m.def("linear", &linear, "matrix"_a, "x"_a, "x_row"_a, "rows"_a, "bias"_a, "y"_a, "y_row"_a, "threads"_a,
        nb::call_guard<nb::gil_scoped_release>());
  m.def("linear_gradient", &linear_gradient, "x"_a, "x_row"_a, "dy"_a, "dy_row"_a, "rows"_a, "inner"_a, "outer"_a,
        "d_weight"_a, "d_bias"_a, "threads"_a, nb::call_guard<nb::gil_scoped_release>());
  m.def("cross_entropy", &cross_entropy, "matrix"_a, "back"_a.none(), "h"_a, "h_row"_a, "rows"_a, "bias"_a, "targets"_a,
        "smoothing"_a, "losses"_a, "dh"_a, "d_weight"_a, "d_bias"_a, "threads"_a, nb::call_guard<nb::gil_scoped_release>());
  m.def("isa", [] { return std::string(isa().name); }, "The instruction set in use");
  m.def("isas", [] {
    std::vector<std::string> names;
    for (const Isa* one : isas()) names.push_back(one->name);
    return names;
  });
  m.def("use_isa", [](const std::string& name) { use_isa(name.c_str()); });
  m.def("fingerprint", [](uintptr_t p, long n) { return isa().fingerprint((const float*)p, n); });
  m.def("peak", [](double seconds) { return isa().peak(seconds); }, "seconds"_a = 0.2, nb::call_guard<nb::gil_scoped_release>());
  m.def("function", [](int op, uintptr_t x, uintptr_t y, int n) { isa().function(op, (const float*)x, (float*)y, n); });
  m.def("memory", [] {
    MemoryUse use = memory_use();
    return std::make_tuple(use.in_use, use.pooled, use.peak);
  }, "Bytes in use, pooled, and the most in use so far");
  m.def("release", &release_pooled);
  m.def("set_pool_limit", &set_pool_limit);
}
