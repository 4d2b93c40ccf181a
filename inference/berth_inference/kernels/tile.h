// A product of a few rows with a few blocks of 16 columns, the sums in registers: what products are made of.
//
// Weights are laid out [out / 16][in / 2][16][2]: a vector of 64 bytes holds two numbers of each of 16 columns. A tile
// of few rows reads several blocks of columns at once, so that as many streams come from memory, each fetched
// ahead: with one stream for each thread a processor does not read as fast as its memory can.
//
// Every sum is added up in the order of the numbers, by one register: what a row comes to does not depend on how many
// others there are.

#ifndef BERTH_TILE_H
#define BERTH_TILE_H

#include <stdint.h>

#include "numbers.h"
#include "team.h"

// The most rows of a tile; up to how many rows each number of the states is loaded once for all blocks; and the most
// blocks that a tile of so many rows reads at once.
#ifdef BERTH_AVX512
// 24 sums and the weights fill 32 registers.
#define MOST_ROWS 12
#define FEW_ROWS 8
#define WIDEST(rows) ((rows) <= 2 ? 8 : (rows) <= 4 ? 4 : (rows) <= 8 ? 3 : 2)
#define COMPLETE(sum)
#else
// 6 sums of two registers each, and the weights, fill 16.
#define MOST_ROWS 6
#define FEW_ROWS 0
#define WIDEST(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 3 : (rows) == 3 ? 2 : 1)
// One row after the other: with the next begun before, a sum would wait in memory for its turn, at half the speed.
#define COMPLETE(sum) __asm__ volatile("" ::"x"((sum).lo), "x"((sum).hi) : "memory")
#endif

INLINE int widest(int rows, int64_t left) {
  int most = WIDEST(rows);
  while (most > left) most = most > 4 ? 4 : most - 1;
  return most;
}

INLINE floats even(const uint16_t* weights) { return (floats)(load_words(weights) << 16); }

INLINE floats odd(const uint16_t* weights) { return (floats)(load_words(weights) & 0xffff0000); }

// Adds `depth` numbers of each row and column to sums[blocks][rows]. `weights` and `states` are at the first of them,
// those of the states a `step` apart, and the rows a `row`. As much as is read of the weights is fetched from `ahead`.
INLINE void tile(const uint16_t* weights, int64_t block, const uint16_t* ahead, const float* states, floats* sums,
                 int64_t depth, const int rows, const int blocks, const int step, const int row) {
  floats sum[8][MOST_ROWS];
#pragma GCC unroll 8
  for (int j = 0; j < blocks; j++)
#pragma GCC unroll 12
    for (int m = 0; m < rows; m++) sum[j][m] = sums[j * rows + m];
  for (int64_t k = 0; k < depth; k += 2, weights += 32, ahead += 32, states += 2 * step) {
    // What is before an empty asm stays before it. Compilers otherwise load more in advance than there are registers.
    if (rows <= FEW_ROWS) {
      // Few rows: each number of the states is loaded once for all blocks.
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        floats weight[8];
#pragma GCC unroll 8
        for (int j = 0; j < blocks; j++) {
          weight[j] = half ? odd(weights + j * block) : even(weights + j * block);
          if (!half) __builtin_prefetch(ahead + j * block);
        }
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
          const floats state = states[half * step + m * row];
#pragma GCC unroll 8
          for (int j = 0; j < blocks; j++) sum[j][m] = multiplied_and_added(weight[j], state, sum[j][m]);
        }
        __asm__ volatile("" ::: "memory");
      }
    } else {
      // Many: each vector of weights is loaded once for all rows, whose numbers the additions load themselves.
#pragma GCC unroll 8
      for (int j = 0; j < blocks; j++) {
        __builtin_prefetch(ahead + j * block);
        const floats first = even(weights + j * block);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
          sum[j][m] = multiplied_and_added(first, states[m * row], sum[j][m]);
          COMPLETE(sum[j][m]);
        }
        const floats second = odd(weights + j * block);
#pragma GCC unroll 12
        for (int m = 0; m < rows; m++) {
          sum[j][m] = multiplied_and_added(second, states[step + m * row], sum[j][m]);
          COMPLETE(sum[j][m]);
        }
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
#ifdef BERTH_AVX512
#define ALL_TILES TO_8(1) TO_8(2) TO_4(3) TO_4(4) TO_3(5) TO_3(6) TO_3(7) TO_3(8) TO_2(9) TO_2(10) TO_2(11) TO_2(12)
#else
#define ALL_TILES TO_4(1) TO_3(2) TO_2(3) TILE(4, 1) TILE(5, 1) TILE(6, 1)
#endif

#endif
