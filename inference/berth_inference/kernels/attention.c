// Attention on a CPU, in bfloat16 with float32 scores, weights and sums: of every query over the columns of keys and
// values that its mask leaves, all heads of a group over the same ones.
//
// Both of its products are tiles: keys and values are laid out as these read weights, CHUNK columns at a time, for up
// to MOST_QUERIES queries. Largest scores and sums of weights are kept from one chunk to the next, and what has been
// summed up is scaled anew where a larger score comes.

#ifdef __x86_64__

#include <math.h>
#include <string.h>

#include "numbers.h"
#include "team.h"
#include "tile.h"

#define CHUNK 128
#define MOST_QUERIES 48
#define MOST_SIZE 256
// From one query's scores to the next's: not a power of two, for these meet in the same lines of the cache.
#define SCORES (CHUNK + 16)

struct attention {
  struct team team;
  const uint16_t *queries, *keys, *values;
  const uint8_t* mask;  // none: every query attends to all columns, or, if causal, to those up to its own
  uint16_t* result;     // [rows][tokens][heads][size]
  int64_t rows, heads, groups, tokens, columns, size, causal;
  // Numbers from one to the next. Those of a head lie side by side.
  int64_t query_row, query_head, query_token;
  int64_t key_row, key_head, key_column;
  int64_t value_row, value_head, value_column;
  int64_t mask_row, mask_token;
  float scale;
};

// The columns that a query attends to: all from `first` to before `last` that the mask has, if there are gaps.
struct reach {
  int64_t first, last;
  const uint8_t* gaps;
};

#define TILE(rows, blocks)                                                   \
  case CASE_OF(rows, blocks):                                                \
    tile(weights, block, ahead, states, sums, depth, rows, blocks, rows, 1); \
    break;
WIDE static void scores_of(int rows, int blocks, const uint16_t* weights, int64_t block, const uint16_t* ahead,
                           const float* states, floats* sums, int64_t depth) {
  switch (CASE_OF(rows, blocks)) { ALL_TILES }
}
#undef TILE
#define TILE(rows, blocks)                                                     \
  case CASE_OF(rows, blocks):                                                  \
    tile(weights, block, ahead, states, sums, depth, rows, blocks, 1, SCORES); \
    break;
WIDE static void add_values(int rows, int blocks, const uint16_t* weights, int64_t block, const uint16_t* ahead,
                            const float* states, floats* sums, int64_t depth) {
  switch (CASE_OF(rows, blocks)) { ALL_TILES }
}

WIDE static struct reach reach_of(const struct attention* job, int64_t row, int64_t token) {
  if (!job->mask) return (struct reach){0, job->causal ? token + 1 : job->columns, 0};
  const uint8_t* mask = job->mask + row * job->mask_row + token * job->mask_token;
  struct reach reach = {job->columns, 0, 0};
  int64_t count = 0;
  for (int64_t c = 0; c < job->columns; c += 64) {
    const uint64_t on = which_are_set(mask + c, job->columns - c);
    if (!on) continue;
    if (reach.first > c) reach.first = c + __builtin_ctzll(on);
    reach.last = c + 64 - __builtin_clzll(on);
    count += __builtin_popcountll(on);
  }
  if (count < reach.last - reach.first) reach.gaps = mask;
  return reach;
}

// 16 columns of keys, as [size / 2][16][2]: a square of 16 pairs after the other, turned over.
INLINE void lay_out_keys(const uint16_t* keys, int64_t stride, int64_t columns, int64_t size, uint16_t* to) {
  for (int64_t first = 0; first < size; first += 32, to += 512) {
    const int whole = size - first >= 32;
    words a[16];
#pragma GCC unroll 16
    for (int c = 0; c < 16; c++) {
      const uint16_t* from = keys + (c < columns ? c : columns - 1) * stride + first;
      if (whole)
        a[c] = load_words(from);
      else
        memcpy(&a[c], from, sizeof a[c] / 2);
    }
    turn_over(a);
#pragma GCC unroll 16
    for (int p = 0; p < 16; p++)
      if (p < 8 || whole) store_words(to + p * 32, a[p]);
  }
}

// Two columns of values, as [size / 16][..][16][2] with CHUNK columns in each block.
INLINE void lay_out_values(const uint16_t* one, const uint16_t* other, int64_t size, uint16_t* to) {
  for (int64_t d = 0; d < size; d += 16, to += CHUNK * 16)
    store_words(to, (words)load(one + d) >> 16 | (words)load(other + d));
}

// Takes the scores of what is not attended to out of 16 columns from `start`.
INLINE floats reached(floats scores, struct reach reach, int64_t start) {
  const integers index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const int64_t first = reach.first - start, last = reach.last - start;
  const int low = first < 0 ? 0 : first < 16 ? (int)first : 16, high = last < 0 ? 0 : last < 16 ? (int)last : 16;
  integers on = index >= low & index < high;
  if (reach.gaps && high) {
    const uint64_t set = which_are_set(reach.gaps + start, high);
    on &= ((integers)(int)set >> index & 1) == 1;
  }
  return on ? scores : (floats)-INFINITY;
}

// Scores of `columns` columns from `start` become weights, 0 outside of the reach. Returns by what the sums so far are
// to be multiplied.
INLINE float weigh(float* scores, int64_t start, int64_t columns, struct reach reach, float* largest, float* total) {
  floats most = *largest, sum = 0;
  const int all = reach.first <= start && reach.last >= start + columns && !reach.gaps;
  for (int64_t c = 0; c < columns; c += 16) {
    floats found = load_floats(scores + c);
    if (!all) store_floats(scores + c, found = reached(found, reach, start + c));
    most = most > found ? most : found;
  }
  const float before = *largest, now = largest_of(most);
  // Of what attends to nothing so far, all scores are the smallest there is.
  const float from = now == -INFINITY ? 0 : now;
  for (int64_t c = 0; c < columns; c += 16) {
    const floats weight = exponential(load_floats(scores + c) - from);
    store_floats(scores + c, weight);
    sum += weight;
  }
  const float factor = before == now ? 1 : before == -INFINITY ? 0 : expf(before - now);
  *largest = now;
  *total = *total * factor + total_of(sum);
  return factor;
}

// Up to MOST_QUERIES queries from `start` of one row and one group of heads: token after token, and its heads.
struct part {
  int64_t row, group, start;
};

INLINE struct part part_of(const struct attention* job, int64_t index) {
  const int64_t parts = (job->tokens * (job->heads / job->groups) + MOST_QUERIES - 1) / MOST_QUERIES;
  return (struct part){index / parts / job->groups, index / parts % job->groups, index % parts * MOST_QUERIES};
}

INLINE const uint16_t* keys_at(const struct attention* job, struct part part, int64_t column) {
  return job->keys + part.row * job->key_row + part.group * job->key_head + column * job->key_column;
}

INLINE const uint16_t* values_at(const struct attention* job, struct part part, int64_t column) {
  return job->values + part.row * job->value_row + part.group * job->value_head + column * job->value_column;
}

// What one thread works with for one part. Queries are in tiles of as even a size as can be: the first `larger` have
// one more than the others.
struct work {
  _Alignas(64) uint16_t keys[CHUNK * MOST_SIZE], values[CHUNK * MOST_SIZE];
  _Alignas(64) float scores[MOST_ROWS * SCORES], spread[MOST_QUERIES * MOST_SIZE];
  floats sums[MOST_QUERIES * MOST_SIZE / 16];
  struct reach reach[MOST_QUERIES];
  float largest[MOST_QUERIES], total[MOST_QUERIES];
  int64_t first, last;  // columns that any of them attends to
  int queries, tiles, fewer, larger;
};

// Which token and head a query of a part is of.
struct place {
  int64_t token, head;
};

INLINE struct place place_of(const struct attention* job, struct part part, int query) {
  const int64_t share = job->heads / job->groups, index = part.start + query;
  return (struct place){index / share, part.group * share + index % share};
}

WIDE static void begin(const struct attention* job, struct part part, struct work* work) {
  const int64_t left = job->tokens * (job->heads / job->groups) - part.start, size = job->size;
  work->queries = left < MOST_QUERIES ? (int)left : MOST_QUERIES;
  work->tiles = (work->queries + MOST_ROWS - 1) / MOST_ROWS;
  work->fewer = work->queries / work->tiles, work->larger = work->queries % work->tiles;
  work->first = job->columns, work->last = 0;
  for (int t = 0, q = 0; t < work->tiles; t++) {
    const int rows = work->fewer + (t < work->larger);
    for (int m = 0; m < rows; m++, q++) {
      const struct place place = place_of(job, part, q);
      const uint16_t* query =
          job->queries + part.row * job->query_row + place.head * job->query_head + place.token * job->query_token;
      for (int64_t k = 0; k < size; k++) {
        const uint32_t bits = (uint32_t)query[k] << 16;
        float number;
        memcpy(&number, &bits, sizeof number);
        work->spread[(q - m) * size + k * rows + m] = number * job->scale;
      }
      // The heads of a token attend to the same columns.
      const int same = q && place_of(job, part, q - 1).token == place.token;
      const struct reach reach = work->reach[q] = same ? work->reach[q - 1] : reach_of(job, part.row, place.token);
      if (reach.first < work->first) work->first = reach.first;
      if (reach.last > work->last) work->last = reach.last;
      work->largest[q] = -INFINITY, work->total[q] = 0;
    }
  }
  for (int64_t s = 0; s < work->queries * size / 16; s++) work->sums[s] = 0;
}

// Keys and values of `columns` columns from `start`; beyond the last of them it is repeated, and weighs nothing.
WIDE static void lay_out(const struct attention* job, struct part part, struct work* work, int64_t start,
                         int64_t columns) {
  const uint16_t *keys = keys_at(job, part, start), *values = values_at(job, part, start);
  for (int64_t c = 0; c < columns; c += 16)
    lay_out_keys(keys + c * job->key_column, job->key_column, columns - c, job->size, work->keys + c * job->size);
  for (int64_t c = 0; c < (columns + 15) / 16 * 16; c += 2)
    lay_out_values(values + (c < columns ? c : columns - 1) * job->value_column,
                   values + (c + 1 < columns ? c + 1 : columns - 1) * job->value_column, job->size,
                   work->values + c * 16);
}

// Lets a tile of queries from `q` attend to `blocks` of 16 columns from `start`, which are laid out. As many keys and
// values are fetched from `next_keys` and `next_values`.
WIDE static void attend_to(const struct attention* job, struct work* work, int q, int rows, int64_t start,
                           int64_t blocks, const uint16_t* next_keys, const uint16_t* next_values) {
  const int64_t size = job->size;
  for (int64_t b = 0, some; b < blocks; b += some) {
    some = widest(rows, blocks - b);
    floats found[MOST_ROWS * 2];
    for (int s = 0; s < some * rows; s++) found[s] = 0;
    scores_of(rows, (int)some, work->keys + b * 16 * size, size * 16, next_keys + b * 16 * size,
              work->spread + q * size, found, size);
    for (int j = 0; j < some; j++)
      for (int m = 0; m < rows; m++) store_floats(work->scores + m * SCORES + (b + j) * 16, found[j * rows + m]);
  }
  floats* sums = work->sums + q * size / 16;
  for (int m = 0; m < rows; m++) {
    const float factor = weigh(work->scores + m * SCORES, start, blocks * 16, work->reach[q + m], &work->largest[q + m],
                               &work->total[q + m]);
    if (factor != 1)
      for (int64_t d = 0; d < size / 16; d++) sums[d * rows + m] *= factor;
  }
  for (int64_t d = 0, some; d < size / 16; d += some) {
    some = widest(rows, size / 16 - d);
    add_values(rows, (int)some, work->values + d * CHUNK * 16, CHUNK * 16, next_values + d * CHUNK * 16, work->scores,
               sums + d * rows, blocks * 16);
  }
}

WIDE static void finish(const struct attention* job, struct part part, const struct work* work) {
  const int64_t size = job->size;
  for (int t = 0, q = 0; t < work->tiles; t++) {
    const int rows = work->fewer + (t < work->larger);
    const floats* sums = work->sums + q * size / 16;
    for (int m = 0; m < rows; m++, q++) {
      const struct place place = place_of(job, part, q);
      uint16_t* to = job->result + ((part.row * job->tokens + place.token) * job->heads + place.head) * size;
      // A query that attends to nothing gets zeros; what is no number stays none.
      const float each = work->total[q] == 0 ? 0 : 1 / work->total[q];
      for (int64_t d = 0; d < size / 16; d++) store(to + d * 16, sums[d * rows + m] * each);
    }
  }
}

// While a chunk is computed with, the next one is fetched: after the last, of the `next` part.
WIDE static void attend(const struct attention* job, struct part part, struct part next) {
  struct work work;
  begin(job, part, &work);
  for (int64_t c = work.first; c < work.last; c += CHUNK) {
    const int64_t columns = work.last - c < CHUNK ? work.last - c : CHUNK;
    const int more = c + CHUNK < work.last;
    const struct part ahead = more ? part : next;
    const int64_t column = more ? c + CHUNK : reach_of(job, next.row, place_of(job, next, 0).token).first;
    lay_out(job, part, &work, c, columns);
    for (int t = 0, q = 0, rows; t < work.tiles; t++, q += rows) {
      rows = work.fewer + (t < work.larger);
      int within = 0;
      for (int m = 0; m < rows; m++) within |= work.reach[q + m].first < c + columns && work.reach[q + m].last > c;
      if (within)
        attend_to(job, &work, q, rows, c, (columns + 15) / 16, keys_at(job, ahead, column),
                  values_at(job, ahead, column));
    }
  }
  finish(job, part, &work);
}

// `size` is a multiple of 16 and at most MOST_SIZE; `heads` one of `groups`.
WIDE void berth_attention(const struct attention* job) {
  const int thread = job->team.thread(), threads = job->team.threads();
  const int64_t queries = job->tokens * (job->heads / job->groups);
  const int64_t parts = job->rows * job->groups * ((queries + MOST_QUERIES - 1) / MOST_QUERIES);
  // Later parts of a prompt reach further: each thread takes some of all.
  for (int64_t i = thread; i < parts; i += threads)
    attend(job, part_of(job, i), part_of(job, i + threads < parts ? i + threads : i));
}

#endif
