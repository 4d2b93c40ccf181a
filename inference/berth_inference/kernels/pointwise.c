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
    __m512 squares = _mm512_setzero_ps();
    for (int64_t i = 0; i < size; i += 16) squares = _mm512_fmadd_ps(load(states + i), load(states + i), squares);
    const __m512 factor = _mm512_set1_ps(1 / sqrtf(_mm512_reduce_add_ps(squares) / size + job->epsilon));
    for (int64_t i = 0; i < size; i += 16)
      store(job->result + r * size + i,
            _mm512_mul_ps(rounded(_mm512_mul_ps(load(states + i), factor)), load(job->weights + i)));
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
  const __m512 one = _mm512_set1_ps(1);
  for (int64_t r = job->rows * thread / threads; r < job->rows * (thread + 1) / threads; r++)
    for (int64_t i = 0; i < size; i += 16) {
      const uint16_t* states = job->states + 2 * r * size + i;
      const __m512 gate = load(states);
      const __m512 power = exponential(_mm512_or_ps(gate, _mm512_set1_ps(-0.0f)));
      const __mmask16 negative = _mm512_movepi32_mask(_mm512_castps_si512(gate));
      const __m512 numerator = _mm512_mask_mul_ps(gate, negative, gate, power);
      store(job->result + r * size + i,
            _mm512_mul_ps(rounded(_mm512_div_ps(numerator, _mm512_add_ps(one, power))), load(states + size)));
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
        const __m512 first = load(states), second = load(states + half);
        store(states,
              _mm512_add_ps(rounded(_mm512_mul_ps(first, load(cosines))), rounded(_mm512_mul_ps(second, load(sines)))));
        store(states + half, _mm512_add_ps(rounded(_mm512_mul_ps(second, load(cosines + half))),
                                           rounded(_mm512_mul_ps(first, load(sines + half)))));
      }
}

#endif
