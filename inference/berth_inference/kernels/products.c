// The product of a linear layer on a CPU: result[rows][out] = states[rows][in] x weights[out][in] + bias, in bfloat16
// with float32 sums. Called by every thread of a team, each of which computes some of the columns.

#ifdef __x86_64__

#include "numbers.h"
#include "team.h"
#include "tile.h"

// Numbers from what is read to what is fetched. Less would leave a hole at the end of each block, more made no
// difference: 256 to 1024 were alike.
#define AHEAD 512
// Where there are several tiles of rows, so many numbers of each are read before the next: their weights and states
// stay in the first and second cache. 128 to 512 were alike.
#define DEPTH 256
// Rows whose states are spread at once, for they take twice their memory; weights are read anew for the next. With the
// blocks of columns whose sums are kept from one DEPTH to the next, all that a thread uses is half a mebibyte.
#define PANEL 192
#define MOST_BLOCKS 16
// So few tiles wait for memory, which is read best from one end of a block to the other.
#define FEW_TILES 4

struct product {
  struct team team;
  const uint16_t *weights, *bias, *states;
  float* spread;  // room for PANEL rows
  uint16_t* result;
  int64_t rows, in, out;
};

#define TILE(rows, blocks)                                                             \
  case CASE_OF(rows, blocks):                                                          \
    tile(weights, block, weights + AHEAD, states, sums, depth, rows, blocks, rows, 1); \
    break;

WIDE static void tile_of(int rows, int blocks, const uint16_t* weights, int64_t block, const float* states,
                         floats* sums, int64_t depth) {
  switch (CASE_OF(rows, blocks)) { ALL_TILES }
}

// Numbers `first` to `last` of a tile's rows, from [rows][in] to float32 and [in][rows], by squares of 16.
INLINE void spread(const uint16_t* states, float* to, int64_t in, int rows, int64_t first, int64_t last) {
  for (int64_t k = first; k < last; k += 16) {
    const int there = last - k < 16 ? (int)(last - k) : 16;
    words square[16];
#pragma GCC unroll 16
    for (int m = 0; m < 16; m++) {
      shorts row = 0;
      if (m < MOST_ROWS && m < rows) {
        if (there == 16)
          row = load_shorts(states + m * in + k);
        else
          memcpy(&row, states + m * in + k, there * sizeof *states);
      }
      square[m] = (words)widened(row);
    }
    turn_over(square);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
      if (i < there) store_first(to + (k + i) * rows, (floats)square[i], rows);
  }
}

// At most PANEL rows, in tiles of as even a size as can be: the first `larger` have one row more than the others.
WIDE static void panel(const struct product* job, const uint16_t* states, uint16_t* result, int rows, int thread,
                       int threads) {
  const int64_t in = job->in, out = job->out, block = in * 16;
  const int tiles = (rows + MOST_ROWS - 1) / MOST_ROWS, fewer = rows / tiles, larger = rows % tiles;
  const int64_t squares = (in + 15) / 16, until = squares * (thread + 1) / threads * 16;
  for (int t = 0, r = 0; t < tiles; r += fewer + (t < larger), t++)
    spread(states + r * in, job->spread + r * in, in, fewer + (t < larger), squares * thread / threads * 16,
           until < in ? until : in);
  job->team.barrier();
  const int64_t all = out / 16, last = all * (thread + 1) / threads, chunk = tiles > 1 ? DEPTH : in;
  const int most = widest(fewer + (larger > 0), all), together = tiles > FEW_TILES ? MOST_BLOCKS : most;
  floats sums[PANEL * MOST_BLOCKS];
  for (int64_t i = all * thread / threads, wide; i < last; i += wide) {
    wide = last - i < together ? last - i : together;
    for (int64_t s = 0; s < rows * wide; s++) sums[s] = 0;
    for (int64_t k = 0; k < in; k += chunk)
      for (int64_t j = 0, blocks; j < wide; j += blocks) {
        blocks = widest(fewer + (larger > 0), wide - j);
        for (int t = 0, r = 0; t < tiles; r += fewer + (t < larger), t++) {
          const int of_tile = fewer + (t < larger);
          tile_of(of_tile, (int)blocks, job->weights + (i + j) * block + k * 16, block,
                  job->spread + r * in + k * of_tile, sums + r * wide + j * of_tile, in - k < chunk ? in - k : chunk);
        }
      }
    for (int t = 0, r = 0; t < tiles; r += fewer + (t < larger), t++) {
      const int of_tile = fewer + (t < larger);
      for (int m = 0; m < of_tile; m++)
        for (int j = 0; j < wide; j++) {
          const floats sum = sums[r * wide + j * of_tile + m];
          store(result + (r + m) * out + (i + j) * 16, job->bias ? sum + load(job->bias + (i + j) * 16) : sum);
        }
    }
  }
  job->team.barrier();
}

// `in` is even, `out` a multiple of 16. Panels are of as even a size as can be, for each reads all weights.
WIDE void berth_product(const struct product* job) {
  const int thread = job->team.thread(), threads = job->team.threads();
  const int64_t panels = (job->rows + PANEL - 1) / PANEL;
  for (int64_t p = 0; p < panels; p++) {
    const int64_t r = job->rows * p / panels, next = job->rows * (p + 1) / panels;
    panel(job, job->states + r * job->in, job->result + r * job->out, (int)(next - r), thread, threads);
  }
}

#endif
