// A product of a few rows with a few blocks of 16 columns, the sums in registers: what products are made of.
//
// Weights are laid out [out / 16][in / 2][16][2]: a vector of 64 bytes holds two numbers of each of 16 columns. A tile
// of up to 12 rows reads several blocks of columns at once, so that as many streams come from memory, each fetched
// ahead: with one stream for each thread a processor does not read as fast as its memory can.
//
// Every sum is added up in the order of the numbers, by one register: what a row comes to does not depend on how many
// others there are.

#ifndef BERTH_TILE_H
#define BERTH_TILE_H

#include <immintrin.h>
#include <stdint.h>

#include "team.h"

// 12 rows and 2 blocks of columns are 24 sums, which with the weights fill the 32 registers.
#define MOST_ROWS 12

// Blocks of columns that a tile of so many rows reads at once: the registers allow 24 sums.
INLINE int widest(int rows, int64_t left) {
  int most = rows <= 2 ? 8 : rows <= 4 ? 4 : rows <= 8 ? 3 : 2;
  while (most > left) most = most > 4 ? 4 : most - 1;
  return most;
}

INLINE __m512 even(const uint16_t* weights) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(weights), 16));
}

INLINE __m512 odd(const uint16_t* weights) {
  return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(weights), _mm512_set1_epi32((int)0xffff0000)));
}

// Adds `depth` numbers of each row and column to sums[blocks][rows]. `weights` and `states` are at the first of them,
// those of the states a `step` apart, and the rows a `row`. As much as is read of the weights is fetched from `ahead`.
INLINE void tile(const uint16_t* weights, int64_t block, const uint16_t* ahead, const float* states, __m512* sums,
                 int64_t depth, const int rows, const int blocks, const int step, const int row) {
  __m512 sum[8][MOST_ROWS];
#pragma GCC unroll 8
  for (int j = 0; j < blocks; j++)
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) sum[j][m] = sums[j * rows + m];
  for (int64_t k = 0; k < depth; k += 2, weights += 32, ahead += 32, states += 2 * step) {
    // What is before an empty asm stays before it. Compilers otherwise load more in advance than there are registers.
    if (rows <= 8) {
      // Few rows: each number of the states is loaded once for all blocks.
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        __m512 weight[8];
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
          weight[j] = half ? odd(weights + j * block) : even(weights + j * block);
          if (!half) _mm_prefetch((const char*)(ahead + j * block), _MM_HINT_T0);
        }
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
          const __m512 state = _mm512_set1_ps(states[half * step + m * row]);
#pragma GCC unroll 8
          for (int j = 0; j < blocks; j++) sum[j][m] = _mm512_fmadd_ps(weight[j], state, sum[j][m]);
        }
        __asm__ volatile("" ::: "memory");
      }
    } else {
      // Many: each vector of weights is loaded once for all rows, whose numbers the additions load themselves.
#pragma GCC unroll 8
      for (int j = 0; j < blocks; j++) {
        _mm_prefetch((const char*)(ahead + j * block), _MM_HINT_T0);
        const __m512 first = even(weights + j * block), second = odd(weights + j * block);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) sum[j][m] = _mm512_fmadd_ps(first, _mm512_set1_ps(states[m * row]), sum[j][m]);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++)
          sum[j][m] = _mm512_fmadd_ps(second, _mm512_set1_ps(states[step + m * row]), sum[j][m]);
        __asm__ volatile("" ::: "memory");
      }
    }
  }
#pragma GCC unroll 8
  for (int j = 0; j < blocks; j++)
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) sums[j * rows + m] = sum[j][m];
}

// One for each size, so that its sums are registers: `TILE(rows, blocks)` is a case of a switch over CASE_OF.
#define CASE_OF(rows, blocks) ((rows) * 8 + (blocks) - 1)
#define TO_2(rows) TILE(rows, 1) TILE(rows, 2)
#define TO_3(rows) TO_2(rows) TILE(rows, 3)
#define TO_4(rows) TO_3(rows) TILE(rows, 4)
#define TO_8(rows) TO_4(rows) TILE(rows, 8)
#define ALL_TILES TO_8(1) TO_8(2) TO_4(3) TO_4(4) TO_3(5) TO_3(6) TO_3(7) TO_3(8) TO_2(9) TO_2(10) TO_2(11) TO_2(12)

#endif
