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

}  // namespace

NB_MODULE(_engine, m) {
  m.doc() = "The native engine: see unrolled.kernels.engine.";
  nb::class_<Sequences>(m, "Sequences", "Which steps of which batch entries run")
      .def_static("even", &even, "steps"_a, "batch"_a, "reverse"_a)
      .def_static("pieces", &pieces, "batch"_a, "start"_a, "length"_a, "reverse"_a)
      .def_prop_ro("count", [](const Sequences& s) { return s.length.size(); });
  nb::class_<Packs>(m, "Packs", "Packed weights").def_prop_ro("isa", [](const Packs& p) { return std::string(p.isa->name); });
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
      .def("pack", &Executable::pack, "weights"_a, "transposed"_a, nb::call_guard<nb::gil_scoped_release>())
      .def_prop_ro("counts", [](const Executable& e) { return std::make_tuple(e.plan.weights, e.plan.vectors, e.plan.externs, e.plan.states.count); },
                   "Weights, vectors, externs and states of the plan")
      .def("forward", &Executable::forward, "sequences"_a, "packs"_a, "arguments"_a, "threads"_a, nb::call_guard<nb::gil_scoped_release>())
      .def("backward", &Executable::backward, "saved"_a, "packs"_a, "arguments"_a, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<Stepper>(m, "Stepper", "A stream through a stack of layers")
      .def(nb::init<std::vector<std::shared_ptr<Executable>>, int>(), "layers"_a, "batch"_a)
      .def("set_parameters", &Stepper::set_parameters, "layer"_a, "packs"_a, "vectors"_a)
      .def("step", [](Stepper& s, uintptr_t x, uintptr_t y) { s.step((const float*)x, (float*)y); })
      .def("load", &Stepper::load, "states"_a)
      .def("store", &Stepper::store, "states"_a);
  m.def("isa", [] { return std::string(isa().name); }, "The instruction set in use");
  m.def("isas", [] {
    std::vector<std::string> names;
    for (const Isa* one : isas()) names.push_back(one->name);
    return names;
  });
  m.def("use_isa", [](const std::string& name) { use_isa(name.c_str()); });
  m.def("peak", [](double seconds) { return isa().peak(seconds); }, "seconds"_a = 0.2, nb::call_guard<nb::gil_scoped_release>());
  m.def("function", [](int op, uintptr_t x, uintptr_t y, int n) { isa().function(op, (const float*)x, (float*)y, n); });
  m.def("memory", [] {
    MemoryUse use = memory_use();
    return std::make_tuple(use.in_use, use.pooled, use.peak);
  }, "Bytes in use, pooled, and the most in use so far");
  m.def("release", &release_pooled);
  m.def("set_pool_limit", &set_pool_limit);
}
