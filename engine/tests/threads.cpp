// The pool of threads: its barrier, calls from many threads at once, and children of fork.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "harness.h"
#include "threads.h"

using namespace unrolled;

namespace {

struct Board {
  long numbers[4] = {};
  std::atomic<long> met{0}, ran{0};
};

// Every member sees what all others wrote before the barrier.
void meet(void* data, const Team& team) {
  Board& board = *(Board*)data;
  for (long round = 1; round <= 200; round++) {
    board.numbers[team.id] = round;
    team.sync();
    long sum = 0;
    for (int i = 0; i < team.size; i++) sum += board.numbers[i];
    if (sum == round * team.size) board.met++;
    team.sync();
  }
  board.ran++;
}

void rounds() {
  for (int count : {1, 2, 3, 4, 2}) {
    Board board;
    run_together(count, meet, &board);
    CHECK(board.ran == count && board.met == 200 * count);
  }
  for (int i = 0; i < 2000; i++) {
    Board board;
    run_apart(1 + i % 4, [](void* data, const Team& team) {
      CHECK(team.size == 1);
      ((Board*)data)->numbers[team.id]++;
      ((Board*)data)->ran++;
    }, &board);
    CHECK(board.ran == 1 + i % 4);
    for (int k = 0; k < 4; k++) CHECK(board.numbers[k] == (k <= i % 4));
  }
}

typedef std::shared_ptr<Executable> Ready;

Ready ready(const Cell& cell, bool training) {
  const Encoded& e = training ? cell.training : cell.inference;
  return std::make_shared<Executable>(e.ints, e.floats, cell.input);
}

// All results of one problem, bit by bit.
std::vector<float> results(const Problem& p, const Ready& inference, const Ready& training) {
  std::vector<float> all;
  auto add = [&](const Guarded& g) {
    CHECK(g.whole());
    all.insert(all.end(), g.p(), g.p() + g.size());
  };
  for (const Ready& executable : {inference, training}) {
    Problem::Result r = p.forward(executable);
    add(r.y.floats);
    for (const Guarded& f : r.final) add(f);
    if (!r.saved) continue;
    for (const Guarded& g : p.backward(*r.saved)) add(g);
  }
  return all;
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

// Eight threads on one Executable with shapes of their own: the results are those of one after another.
void together() {
  const Cell cells[] = {cells::lstm(5, 64), cells::norm(4, 70, 33)};
  for (const Cell& cell : cells) {
    Ready inference = ready(cell, false), training = ready(cell, true);
    Random random(31);
    std::vector<Shape> shapes;
    for (int i = 0; i < 8; i++)
      shapes.push_back(i < 2 ? Shape::even(3, 17 + i, 2) : Shape::random(random, 5, i % 2 ? 3 : 19, 1 + i % 3));
    std::vector<std::unique_ptr<Problem>> problems;
    std::vector<std::vector<float>> wanted;
    for (const Shape& shape : shapes) {
      problems.push_back(std::make_unique<Problem>(cell, shape, random));
      wanted.push_back(results(*problems.back(), inference, training));
    }
    std::vector<std::thread> callers;
    for (size_t i = 0; i < problems.size(); i++)
      callers.emplace_back([&, i] {
        for (int turn = 0; turn < 4; turn++) CHECK(same(results(*problems[i], inference, training), wanted[i]));
      });
    for (std::thread& caller : callers) caller.join();
  }
}

// A child has none of the pool's threads, and computes all the same; so does the parent afterwards.
void children() {
#if !defined(__SANITIZE_THREAD__)  // which knows no threads after fork
  Cell cell = cells::lstm(5, 64);
  Ready inference = ready(cell, false), training = ready(cell, true);
  Shape shape = Shape::even(3, 18, 2);
  Random random(32);
  Problem p(cell, shape, random);
  const std::vector<float> wanted = results(p, inference, training);
  for (int i = 0; i < 3; i++) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
      alarm(60);  // a child that waits for a thread that is not there
      bool right = same(results(p, inference, training), wanted);
      _exit(right ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(same(results(p, inference, training), wanted));
  }
#endif
}

}  // namespace

int main() {
  prepare();
  rounds();
  together();
  children();
}
