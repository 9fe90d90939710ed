// One call's problem: which rows run at which step, where every plane lies, and the caller's tensors.
#pragma once
#include <stdint.h>

#include <vector>

#include "memory.h"
#include "plan.h"
#include "threads.h"

namespace unrolled {

// A tensor of the caller: [T, B, n] with any strides of time and batch (in floats) and contiguous units.
struct Tensor {
  float* p = nullptr;
  long time = 0, batch = 0;
};

// Sequence q is batch entry batch[q]; its steps are start[q] .. start[q] + length[q] - 1 (backwards if reverse).
struct Sequences {
  std::vector<int> batch, start, length;
  bool reverse = false;
  int time(int q, int s) const { return reverse ? start[q] + length[q] - 1 - s : start[q] + s; }
};

// Where a plane lies for one part: block b of row r begins at p + b * block + r * row.
struct PlaneAt {
  float* p = nullptr;
  long block = 0, row = 0;
};

// Sequences that one thread (or one team) runs: sorted by length, longest first.
struct Part {
  int sequences = 0, steps = 0;
  long rows = 0;                 // over all steps
  std::vector<int> sequence;     // row -> index into Sequences
  std::vector<int> active;       // rows of each step
  std::vector<long> offset;      // rows before each step, [steps + 1]
  std::vector<int> chunks, back_chunks;  // steps at which pieces begin, and the end
  long chunk_rows = 0, back_chunk_rows = 0;
};

// Memory of one part: what a training forward keeps for its backward (of an inference, its scratch), or a backward's own.
struct Space {
  Floats memory;
  uint64_t bytes = 0;
  std::vector<PlaneAt> planes;   // by plane of the plan; null where the plane belongs to the other pass
  PlaneAt x, dx, argument;       // packed inputs and the like of one chunk
  float* temps = nullptr;        // for each member of the team
  long temps_size = 0;
  std::vector<float*> gate_bias;                       // sums of each gate's biases
  std::vector<float*> d_weights, d_vectors;            // where this part's sums go
};

struct Call {
  const Plan* plan = nullptr;
  const Sequences* sequences = nullptr;
  std::vector<Part>* parts = nullptr;
  int team = 1;                                  // threads that share the one part
  Tensor x, y, dy, dx;
  std::vector<Tensor> externs;
  std::vector<float*> vectors;                   // as the caller has them, contiguous
  std::vector<long> vector_sizes, weight_sizes;
  std::vector<float*> initial, final;            // [sequences, n] per state field; null: zeros / not wanted
  std::vector<float*> d_initial, d_final;        // may be null
  std::vector<float*> d_weights, d_vectors;      // to be added to; null where not wanted
  std::vector<const void*> packed;               // one per pack of the plan: floats, or bfloat16
  bool half = false;                             // which
  std::vector<Space>* forward = nullptr;         // per part
  std::vector<Space>* backward = nullptr;
};

// A dense layer's call: y [rows, outer] = x [rows, inner] W^T + bias and the like.
struct Dense {
  enum What { LINEAR, WEIGHT_GRADIENT, CROSS_ENTROPY } what = LINEAR;
  const float* x = nullptr;
  long x_row = 0, rows = 0;
  int inner = 0, outer = 0;
  const float* packed = nullptr;        // W [outer, inner] by rows; LINEAR with a transposed pack: by columns
  const float* packed_back = nullptr;   // by columns (CROSS_ENTROPY)
  const float* bias = nullptr;          // padded to whole panels
  float* y = nullptr;                   // LINEAR: the result; WEIGHT_GRADIENT: its gradient; CROSS_ENTROPY: dx or null
  long y_row = 0;
  const int64_t* targets = nullptr;     // negative: a row that does not count
  float smoothing = 0;                  // CROSS_ENTROPY: the share of each target that is spread over all classes
  float* losses = nullptr;              // [rows]
  float* d_weight = nullptr;            // added to
  float* d_bias = nullptr;
  float* space = nullptr;               // dense_space floats
  long space_size = 0;                  // of one member, where each has its own
  int threads = 1;
};

constexpr int DENSE_ROWS = 96;                   // rows of one chunk

// Runs a dense call on up to so many threads, with the memory that it needs.
void run_dense(const struct Isa& isa, Dense& dense, int threads);

// The entry points of one instruction set.
struct Isa {
  const char* name;
  int lanes;                                     // NB
  void (*pack)(const Pack&, const float* weight, float* out);
  void (*pack_half)(const float* packed, void* out, long panels, int inner);  // to bfloat16
  void (*forward)(Call&);
  void (*backward)(Call&);
  void (*step)(Call&, long now);                 // one step of an inference plan, states staying in their planes
  void (*vectors)(Call&);                        // loads call.vectors into their planes
  void (*states)(Call&, long now, bool store);   // those states from call.initial, or to call.final
  void (*dense)(Dense&);
  uint64_t (*fingerprint)(const float*, long n); // of contents: equal for equal bits
  double (*peak)(double seconds);                // multiply-add flops per second of one thread
  void (*function)(int op, const float* x, float* y, int n);  // one unary op, for tests
};

const Isa* isa_baseline();
const Isa* isa_avx2();
const Isa* isa_avx512();
const Isa* isa_wide();

const Isa& isa();                                // the one in use
std::vector<const Isa*> isas();                  // those that this machine can run, best first
void use_isa(const char* name);                  // throws std::invalid_argument

constexpr int TILE = 1024;                       // floats of one register of a pointwise program
constexpr int TEMPS = 24;

long pack_size(const Pack& pack, int lanes);     // floats

// Sorts sequences into parts for so many threads; a function of shapes alone, never of timing.
int divide(const Plan& plan, const Sequences& sequences, int threads, std::vector<Part>& parts);

// Lays out the planes of every part.
void lay_out_forward(Call& call, int lanes);
void lay_out_backward(Call& call, int lanes);

}  // namespace unrolled
