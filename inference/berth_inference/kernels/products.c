// The product of a linear layer on a CPU: result[rows][out] = states[rows][in] x weights[out][in] + bias, in bfloat16
// with float32 sums. Called by every thread of a team, each of which computes some of the columns.
//
// Weights are laid out [out / 16][in / 2][16][2]: a vector of 64 bytes holds two numbers of each of 16 columns. A tile of
// up to 12 rows reads several blocks of columns at once, so that as many streams come from memory, each fetched
// ahead: with one stream for each thread a processor does not read as fast as its memory can.
//
// Every sum is added up in the order of the numbers, by one register: what a row comes to does not depend on how many
// others there are.

#ifdef __x86_64__

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "team.h"

// Less than this leaves a hole at the end of each block, more made no difference: 512 to 2048 were alike.
#define BYTES_AHEAD 1024
// 12 rows and 2 blocks of columns are 24 sums, which with the weights fill the 32 registers.
#define MOST_ROWS 12
// Where there are several tiles of rows, so many numbers of each are read before the next: their weights and states stay
// in the first and second cache. 128 to 512 were alike.
#define DEPTH 256
// Rows whose states are spread at once, for they take twice their memory. 32 tiles; weights are read anew for each.
#define PANEL 384

struct product {
  struct team team;
  const uint16_t *weights, *bias, *states;
  float *spread;  // room for PANEL rows
  uint16_t *result;
  int64_t rows, in, out;
};

// Blocks of columns that a tile of so many rows reads at once: the registers allow 24 sums.
INLINE int widest(int rows, int64_t left) {
  int most = rows <= 2 ? 8 : rows <= 4 ? 4 : rows <= 8 ? 3 : 2;
  while (most > left) most = most > 4 ? 4 : most - 1;
  return most;
}

INLINE __m512 even(const uint16_t *weights) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(weights), 16));
}

INLINE __m512 odd(const uint16_t *weights) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(weights), _mm512_set1_epi32((int)0xffff0000)));
}

// Adds `depth` numbers of each row and column to sums[blocks][rows]. `weights` and `states` are at the first of them.
INLINE void tile(const uint16_t *weights, int64_t block, const float *states, __m512 *sums, int64_t depth, const int rows,
                 const int blocks) {
  __m512 sum[8][MOST_ROWS];
#pragma GCC unroll 8
  for (int j = 0; j < blocks; j++)
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) sum[j][m] = sums[j * rows + m];
  for (int64_t k = 0; k < depth; k += 2, weights += 32, states += 2 * rows) {
    // What is before an empty asm stays before it. Compilers otherwise load more in advance than there are registers.
    if (rows <= 8) {
      // Few rows: each number of the states is loaded once for all blocks.
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        __m512 weight[8];
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
          weight[j] = half ? odd(weights + j * block) : even(weights + j * block);
          if (!half) _mm_prefetch((const char *)(weights + j * block) + BYTES_AHEAD, _MM_HINT_T0);
        }
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
          const __m512 state = _mm512_set1_ps(states[half * rows + m]);
#pragma GCC unroll 8
          for (int j = 0; j < blocks; j++) sum[j][m] = _mm512_fmadd_ps(weight[j], state, sum[j][m]);
        }
        __asm__ volatile("" ::: "memory");
      }
    } else {
      // Many: each vector of weights is loaded once for all rows, whose numbers the additions load themselves.
#pragma GCC unroll 8
      for (int j = 0; j < blocks; j++) {
        _mm_prefetch((const char *)(weights + j * block) + BYTES_AHEAD, _MM_HINT_T0);
        const __m512 first = even(weights + j * block), second = odd(weights + j * block);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) sum[j][m] = _mm512_fmadd_ps(first, _mm512_set1_ps(states[m]), sum[j][m]);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) sum[j][m] = _mm512_fmadd_ps(second, _mm512_set1_ps(states[rows + m]), sum[j][m]);
        __asm__ volatile("" ::: "memory");
      }
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < blocks; j++)
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) sums[j * rows + m] = sum[j][m];
}

// One function for each size, so that its sums are registers.
#define TILE(rows, blocks) \
  case (rows) * 8 + (blocks)-1: \
    tile(weights, block, states, sums, depth, rows, blocks); \
    break;
#define TO_2(rows) TILE(rows, 1) TILE(rows, 2)
#define TO_3(rows) TO_2(rows) TILE(rows, 3)
#define TO_4(rows) TO_3(rows) TILE(rows, 4)
#define TO_8(rows) TO_4(rows) TILE(rows, 8)

WIDE static void tile_of(int rows, int blocks, const uint16_t *weights, int64_t block, const float *states, __m512 *sums,
                         int64_t depth) {
  switch (rows * 8 + blocks - 1) {
    TO_8(1) TO_8(2) TO_4(3) TO_4(4) TO_3(5) TO_3(6) TO_3(7) TO_3(8) TO_2(9) TO_2(10) TO_2(11) TO_2(12)
  }
}

// Rounds to the nearest bfloat16, of two the even one, as torch does.
INLINE void store(uint16_t *to, __m512 values, const uint16_t *bias) {
  if (bias) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)bias));
    values = _mm512_add_ps(values, _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)));
  }
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff))), 16);
  // The addition could make a number of what is none.
  rounded = _mm512_mask_set1_epi32(rounded, _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q), 0x7fc0);
  _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(rounded));
}

// Numbers `first` to `last` of a tile's rows, from [rows][in] to float32 and [in][rows].
INLINE void spread(const uint16_t *states, float *to, int64_t in, int rows, int64_t first, int64_t last) {
  for (int m = 0; m < rows; m++)
    for (int64_t k = first; k < last; k++) {
      const uint32_t bits = (uint32_t)states[m * in + k] << 16;
      memcpy(to + k * rows + m, &bits, sizeof bits);
    }
}

// At most PANEL rows, in tiles of as even a size as can be: the first `larger` have one row more than the others.
WIDE static void panel(const struct product *job, const uint16_t *states, uint16_t *result, int rows, int thread, int threads) {
  const int64_t in = job->in, out = job->out, block = in * 16;
  const int tiles = (rows + MOST_ROWS - 1) / MOST_ROWS, fewer = rows / tiles, larger = rows % tiles;
  for (int t = 0, r = 0; t < tiles; r += fewer + (t < larger), t++)
    spread(states + r * in, job->spread + r * in, in, fewer + (t < larger), in * thread / threads, in * (thread + 1) / threads);
  job->team.barrier();
  const int64_t all = out / 16, last = all * (thread + 1) / threads;
  const int64_t chunk = tiles > 1 ? DEPTH : in;
  __m512 sums[PANEL * 2];
  for (int64_t i = all * thread / threads, blocks; i < last; i += blocks) {
    blocks = widest(fewer + (larger > 0), last - i);
    for (int64_t s = 0; s < rows * blocks; s++) sums[s] = _mm512_setzero_ps();
    for (int64_t k = 0; k < in; k += chunk)
      for (int t = 0, r = 0; t < tiles; r += fewer + (t < larger), t++) {
        const int of_tile = fewer + (t < larger);
        tile_of(of_tile, (int)blocks, job->weights + i * block + k * 16, block, job->spread + r * in + k * of_tile,
                sums + r * blocks, in - k < chunk ? in - k : chunk);
      }
    for (int t = 0, r = 0; t < tiles; r += fewer + (t < larger), t++)
      for (int j = 0; j < blocks; j++)
        for (int m = 0; m < fewer + (t < larger); m++)
          store(result + (r + m) * out + (i + j) * 16, sums[r * blocks + j * (fewer + (t < larger)) + m],
                job->bias ? job->bias + (i + j) * 16 : 0);
  }
  job->team.barrier();
}

// `in` is even, `out` a multiple of 16.
WIDE void berth_product(const struct product *job) {
  const int thread = job->team.thread(), threads = job->team.threads();
  for (int64_t r = 0; r < job->rows; r += PANEL)
    panel(job, job->states + r * job->in, job->result + r * job->out, (int)(job->rows - r < PANEL ? job->rows - r : PANEL), thread,
          threads);
}

#endif
