// A plan made ready to run: the calls that Python makes, its packed weights, and what a forward leaves for a backward.
#pragma once
#include <memory>
#include <vector>

#include "problem.h"

namespace unrolled {

typedef std::vector<int64_t> Numbers;

// Packed weights, made from the caller's at one moment. The caller decides how long they stay true.
struct Packs {
  const Isa* isa = nullptr;
  std::vector<Floats> memory;
  std::vector<const void*> packed;    // one per pack of the plan; null where not asked for
  bool half = false;                  // as bfloat16

  Packs() = default;
  Packs(const Packs&) = delete;
};

class Executable;

// What a training forward leaves: sequences, their division, all planes.
struct Saved {
  std::shared_ptr<Executable> executable;
  std::shared_ptr<Sequences> sequences;
  const Isa* isa;
  int team;
  std::vector<Part> parts;
  std::vector<Space> spaces;
  uint64_t bytes() const;

  Saved() = default;
  Saved(const Saved&) = delete;
};

class Executable : public std::enable_shared_from_this<Executable> {
 public:
  Executable(const std::vector<int64_t>& ints, const std::vector<double>& floats, int input_size)
      : plan(ints, floats, input_size) {}

  // Packs for the forward or (transposed) for the backward pass; one address per weight. `half`: kept as bfloat16.
  std::shared_ptr<Packs> pack(const Numbers& weights, bool transposed, bool half = false) const;

  // Arguments in order: x, y and each extern as (address, time stride, batch stride); each vector as (address, size);
  // each state's initial, then each one's final [sequences, n] (0: zeros, not wanted).
  std::shared_ptr<Saved> forward(std::shared_ptr<Sequences> sequences, const Packs& packs, const Numbers& arguments,
                                 int threads);

  // x, dy and dx as above (x for the gradient of the input weights alone); each weight's gradient and each vector's as
  // (address or 0, size), added to; each state's final, then each one's initial gradient (0: zeros, not wanted).
  void backward(const Saved& saved, const Packs& packs, const Numbers& arguments) const;

  const Plan plan;
};

// A stream through a stack of layers, one step at a time; states stay inside. Not for several threads at once.
class Stepper {
 public:
  Stepper(std::vector<std::shared_ptr<Executable>> layers, int batch);

  // A layer's packs and its vectors as (address, size); they are read, not kept. States stay.
  void set_parameters(int layer, std::shared_ptr<Packs> packs, const Numbers& vectors);
  // The caller's weights: step() looks at a few values of each.
  void watch(const Numbers& weights);
  // False, and nothing done, if the weights are no longer what they were when watched.
  bool step(const float* x, float* y);
  void load(const Numbers& states);   // addresses of [batch, n]: every layer's fields in order; 0: zeros
  void store(const Numbers& states);

  Stepper(const Stepper&) = delete;

 private:
  struct Layer {
    std::shared_ptr<Executable> executable;
    std::shared_ptr<Packs> packs;
    std::vector<Part> parts;
    std::vector<Space> spaces;
    std::vector<std::vector<float>> vectors;
    std::vector<float> output;
    Call call;
  };
  static constexpr int SAMPLES = 8;
  struct Watched {
    const float* p;
    long size;
    uint32_t seen[SAMPLES];
    bool look(bool again);
  };
  const Isa& isa_;
  Sequences sequences_;
  std::vector<Watched> watched_;
  std::vector<std::unique_ptr<Layer>> layers_;
  long now_;
};

}  // namespace unrolled
