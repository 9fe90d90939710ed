#include "executable.h"

#include <string.h>

#include <stdexcept>

namespace unrolled {
namespace {

// Reads the numbers of one call in order.
struct Reader {
  const Numbers& numbers;
  size_t at = 0;
  int64_t next() {
    if (at >= numbers.size()) throw std::invalid_argument("too few arguments for this plan");
    return numbers[at++];
  }
  float* address() { return (float*)(intptr_t)next(); }
  Tensor tensor() {
    Tensor t;
    t.p = address();
    t.time = (long)next();
    t.batch = (long)next();
    return t;
  }
  void end() const {
    if (at != numbers.size()) throw std::invalid_argument("too many arguments for this plan");
  }
};

}  // namespace

uint64_t Saved::bytes() const {
  uint64_t sum = 0;
  for (const Space& s : spaces) sum += s.bytes;
  return sum;
}

std::shared_ptr<Packs> Executable::pack(const Numbers& weights, bool transposed, bool half) const {
  if ((int)weights.size() != plan.weights) throw std::invalid_argument("one address per weight of the plan");
  if (half) {
    for (int s = 0; s < plan.forward.count; s++)
      for (int i = 0; i < plan.forward[s].products.count; i++)
        if (transposed || plan.forward[s].products[i].inputs.count > 1)
          throw std::invalid_argument("only products with one plane run with weights packed as bfloat16");
  }
  auto made = std::make_shared<Packs>();
  made->isa = &isa();
  made->half = half;
  made->memory.resize(plan.packs.count);
  made->packed.assign(plan.packs.count, nullptr);
  for (int i = 0; i < plan.packs.count; i++) {
    const Pack& p = plan.packs[i];
    if ((bool)p.transposed != transposed) continue;
    long size = pack_size(p, made->isa->lanes);
    Floats packed(size);
    made->isa->pack(p, (const float*)(intptr_t)weights[p.weight], packed.get());
    if (half) {
      long lines = size / made->isa->lanes, panels = lines / p.inner;  // two lines of weights become one
      made->memory[i] = Floats(panels * ((p.inner + 1) / 2) * made->isa->lanes);
      made->isa->pack_half(packed.get(), made->memory[i].get(), panels, p.inner);
    } else {
      made->memory[i] = std::move(packed);
    }
    made->packed[i] = made->memory[i].get();
  }
  return made;
}

std::shared_ptr<Saved> Executable::forward(std::shared_ptr<Sequences> sequences, const Packs& packs,
                                           const Numbers& arguments, int threads) {
  Call call;
  Reader reader{arguments};
  call.plan = &plan;
  call.sequences = sequences.get();
  call.x = reader.tensor();
  call.y = reader.tensor();
  for (int i = 0; i < plan.externs; i++) call.externs.push_back(reader.tensor());
  for (int i = 0; i < plan.vectors; i++) {
    call.vectors.push_back(reader.address());
    call.vector_sizes.push_back((long)reader.next());
  }
  for (int i = 0; i < plan.states.count; i++) call.initial.push_back(reader.address());
  for (int i = 0; i < plan.states.count; i++) call.final.push_back(reader.address());
  reader.end();
  const Isa& isa = *packs.isa;
  if (packs.half && plan.training) throw std::invalid_argument("training needs weights packed as float32");
  call.packed = packs.packed;
  call.half = packs.half;
  auto saved = std::make_shared<Saved>();
  saved->isa = &isa;
  saved->team = call.team = divide(plan, *sequences, threads, saved->parts);
  saved->spaces.resize(saved->parts.size());
  call.parts = &saved->parts;
  call.forward = &saved->spaces;
  isa.forward(call);
  if (!plan.training) return nullptr;
  saved->executable = shared_from_this();
  saved->sequences = std::move(sequences);
  return saved;
}

void Executable::backward(const Saved& saved, const Packs& packs, const Numbers& arguments) const {
  if (!plan.training) throw std::invalid_argument("an inference plan has no backward pass");
  Call call;
  Reader reader{arguments};
  call.plan = &plan;
  call.sequences = saved.sequences.get();
  call.x = reader.tensor();
  call.dy = reader.tensor();
  call.dx = reader.tensor();
  for (int i = 0; i < plan.externs; i++) call.externs.push_back(Tensor{});
  for (int i = 0; i < plan.weights; i++) {
    call.d_weights.push_back(reader.address());
    call.weight_sizes.push_back((long)reader.next());
  }
  for (int i = 0; i < plan.vectors; i++) {
    call.d_vectors.push_back(reader.address());
    call.vector_sizes.push_back((long)reader.next());
  }
  for (int i = 0; i < plan.states.count; i++) call.d_final.push_back(reader.address());
  for (int i = 0; i < plan.states.count; i++) call.d_initial.push_back(reader.address());
  reader.end();
  if (packs.isa != saved.isa) throw std::invalid_argument("the instruction set changed between forward and backward");
  call.packed = packs.packed;
  call.team = saved.team;
  std::vector<Space> spaces(saved.parts.size());
  call.parts = const_cast<std::vector<Part>*>(&saved.parts);
  call.forward = const_cast<std::vector<Space>*>(&saved.spaces);
  call.backward = &spaces;
  saved.isa->backward(call);
}

Stepper::Stepper(std::vector<std::shared_ptr<Executable>> layers, int batch) : isa_(isa()), now_(0) {
  if (layers.empty() || batch < 1) throw std::invalid_argument("a stepper needs a layer and a row");
  for (int b = 0; b < batch; b++) {
    sequences_.batch.push_back(b);
    sequences_.start.push_back(0);
    sequences_.length.push_back(1);
  }
  for (auto& executable : layers) {
    const Plan& plan = executable->plan;
    if (plan.training || plan.externs) throw std::invalid_argument("a stepper runs inference plans without externs");
    auto layer = std::make_unique<Layer>();
    layer->executable = executable;
    divide(plan, sequences_, 1, layer->parts);
    layer->spaces.resize(1);
    int units = plan.units(plan.planes[plan.states[0].plane].size);
    layer->output.resize((size_t)batch * units);
    Call& call = layer->call;
    call.plan = &plan;
    call.sequences = &sequences_;
    call.parts = &layer->parts;
    call.forward = &layer->spaces;
    call.initial.assign(plan.states.count, nullptr);
    call.final.assign(plan.states.count, nullptr);
    layer->vectors.resize(plan.vectors);
    call.vectors.assign(plan.vectors, nullptr);
    call.x.batch = plan.input_size;
    call.y.batch = units;
    call.y.p = layer->output.data();
    lay_out_forward(call, isa_.lanes);
    layers_.push_back(std::move(layer));
  }
  for (size_t i = 1; i < layers_.size(); i++) layers_[i]->call.x.p = layers_[i - 1]->call.y.p;
}

void Stepper::set_parameters(int index, std::shared_ptr<Packs> packs, const Numbers& vectors) {
  Layer& layer = *layers_.at(index);
  if (packs->isa != &isa_) throw std::invalid_argument("packed for another instruction set");
  Reader reader{vectors};
  for (size_t v = 0; v < layer.vectors.size(); v++) {
    const float* p = reader.address();
    layer.vectors[v].assign(p, p + reader.next());
    layer.call.vectors[v] = layer.vectors[v].data();
  }
  reader.end();
  layer.packs = std::move(packs);
  layer.call.packed = layer.packs->packed;
  layer.call.half = layer.packs->half;
  isa_.vectors(layer.call);
}

bool Stepper::Watched::look(bool again) {
  for (int i = 0; i < SAMPLES; i++) {
    uint32_t word;
    memcpy(&word, p + (size - 1) * i / (SAMPLES - 1), sizeof word);
    if (again && word != seen[i]) return false;
    seen[i] = word;
  }
  return true;
}

void Stepper::watch(const Numbers& weights) {
  Reader reader{weights};
  watched_.clear();
  while (reader.at < weights.size()) {
    Watched w{};
    w.p = reader.address();
    w.size = (long)reader.next();
    if (w.size < 1) throw std::invalid_argument("an empty weight");
    w.look(false);
    watched_.push_back(w);
  }
}

bool Stepper::step(const float* x, float* y) {
  for (Watched& w : watched_)
    if (!w.look(true)) return false;
  int batch = (int)sequences_.length.size();
  now_ = batch - now_;  // the halves of the state planes change places
  layers_.front()->call.x.p = (float*)x;
  Call& last = layers_.back()->call;
  last.y.p = y;
  for (auto& layer : layers_) isa_.step(layer->call, now_);
  return true;
}

void Stepper::load(const Numbers& states) {
  Reader reader{states};
  for (auto& layer : layers_) {
    for (float*& p : layer->call.initial) p = reader.address();
    isa_.states(layer->call, now_, false);
  }
  reader.end();
}

void Stepper::store(const Numbers& states) {
  Reader reader{states};
  for (auto& layer : layers_) {
    for (float*& p : layer->call.final) p = reader.address();
    isa_.states(layer->call, now_, true);
  }
  reader.end();
}

}  // namespace unrolled
