// What a decoder layer computes of each number by itself, in bfloat16, rounded wherever torch's operators round.

#ifdef __x86_64__

#include <math.h>

#include "numbers.h"
#include "team.h"

struct norm {
  struct team team;
  const uint16_t *states, *weights;
  uint16_t* result;
  int64_t rows, size;
  float epsilon;
};

// Root mean square normalisation: the states are rounded once divided, and once more by the weights. `size` is a
// multiple of 16.
WIDE void berth_norm(const struct norm* job) {
  const int64_t size = job->size, thread = job->team.thread(), threads = job->team.threads();
  for (int64_t r = job->rows * thread / threads; r < job->rows * (thread + 1) / threads; r++) {
    const uint16_t* states = job->states + r * size;
    floats squares = 0;
    for (int64_t i = 0; i < size; i += 16) squares = multiplied_and_added(load(states + i), load(states + i), squares);
    const float factor = 1 / sqrtf(total_of(squares) / size + job->epsilon);
    for (int64_t i = 0; i < size; i += 16)
      store(job->result + r * size + i, rounded(load(states + i) * factor) * load(job->weights + i));
  }
}

struct gate {
  struct team team;
  const uint16_t* states;  // [rows][gate, then what it lets through][size]
  uint16_t* result;
  int64_t rows, size;
};

// silu(gate) x the rest. `size` is a multiple of 16.
WIDE void berth_gate(const struct gate* job) {
  const int64_t size = job->size, thread = job->team.thread(), threads = job->team.threads();
  for (int64_t r = job->rows * thread / threads; r < job->rows * (thread + 1) / threads; r++)
    for (int64_t i = 0; i < size; i += 16) {
      const uint16_t* states = job->states + 2 * r * size + i;
      const floats gate = load(states);
      const floats power = exponential((floats)((words)gate | 0x80000000));
      const floats numerator = (integers)gate < 0 ? gate * power : gate;
      store(job->result + r * size + i, rounded(numerator / (1 + power)) * load(states + size));
    }
}

struct rotation {
  struct team team;
  uint16_t* states;                 // [tokens][heads][size], `token` numbers from one token to the next
  const uint16_t *cosines, *sines;  // [tokens][turned], the first half of the sines negated
  int64_t tokens, token, heads, size, turned;
};

// Turns the first `turned` numbers of each head in place, those of their halves by pairs. `turned` is a multiple of 32.
WIDE void berth_rotate(const struct rotation* job) {
  const int64_t half = job->turned / 2, thread = job->team.thread(), threads = job->team.threads();
  for (int64_t t = job->tokens * thread / threads; t < job->tokens * (thread + 1) / threads; t++)
    for (int64_t h = 0; h < job->heads; h++)
      for (int64_t i = 0; i < half; i += 16) {
        uint16_t* states = job->states + t * job->token + h * job->size + i;
        const uint16_t *cosines = job->cosines + t * job->turned + i, *sines = job->sines + t * job->turned + i;
        const floats first = load(states), second = load(states + half);
        store(states, rounded(first * load(cosines)) + rounded(second * load(sines)));
        store(states + half, rounded(second * load(cosines + half)) + rounded(first * load(sines + half)));
      }
}

#endif
