// bfloat16 and float32, 16 at a time, and functions of the latter: a register of AVX-512, or two of AVX2.

#ifndef BERTH_NUMBERS_H
#define BERTH_NUMBERS_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "team.h"

typedef float floats __attribute__((ext_vector_type(16)));
typedef uint32_t words __attribute__((ext_vector_type(16)));
typedef int32_t integers __attribute__((ext_vector_type(16)));
typedef uint16_t shorts __attribute__((ext_vector_type(16)));

// 16 numbers that lie anywhere.
INLINE words load_words(const void* from) {
  words found;
  memcpy(&found, from, sizeof found);
  return found;
}

INLINE floats load_floats(const float* from) { return (floats)load_words(from); }

INLINE shorts load_shorts(const uint16_t* from) {
  shorts found;
  memcpy(&found, from, sizeof found);
  return found;
}

INLINE void store_words(void* to, words values) { memcpy(to, &values, sizeof values); }

INLINE void store_floats(float* to, floats values) { store_words(to, (words)values); }

// The first `count` of them.
INLINE void store_first(float* to, floats values, int count) {
#ifdef BERTH_AVX512
  _mm512_mask_storeu_ps(to, (1u << count) - 1, (__m512)values);
#else
  // Fewer than 8 here. Stores with a mask take several times as long on some processors.
  if (count & 4) memcpy(to, &values, 16), to += 4, values.lo.lo = values.lo.hi;
  if (count & 2) memcpy(to, &values, 8), to += 2, values.x = values.z;
  if (count & 1) *to = values.x;
#endif
}

// bfloat16 is the upper half of float32.
INLINE floats widened(shorts values) { return (floats)(__builtin_convertvector(values, words) << 16); }

INLINE floats load(const uint16_t* from) { return widened(load_shorts(from)); }

// To the nearest bfloat16, of two the even one, as torch does, in the upper half of each number.
INLINE floats rounded(floats values) {
  const words bits = (words)values;
  const words up = (bits + ((bits >> 16 & 1) + 0x7fff)) & 0xffff0000;
  // The addition could make a number of what is none.
  return (floats)(values != values ? (words)0x7fc00000 : up);
}

INLINE void store(uint16_t* to, floats values) {
  const shorts upper = __builtin_convertvector((words)rounded(values) >> 16, shorts);
  memcpy(to, &upper, sizeof upper);
}

INLINE floats multiplied_and_added(floats one, floats other, floats sum) {
  return __builtin_elementwise_fma(one, other, sum);
}

INLINE float total_of(floats values) {
  const __typeof__(values.lo) of_8 = values.lo + values.hi;
  const __typeof__(of_8.lo) of_4 = of_8.lo + of_8.hi;
  return (of_4.x + of_4.z) + (of_4.y + of_4.w);
}

INLINE float largest_of(floats values) {
  const __typeof__(values.lo) of_8 = values.lo > values.hi ? values.lo : values.hi;
  const __typeof__(of_8.lo) of_4 = of_8.lo > of_8.hi ? of_8.lo : of_8.hi;
  const __typeof__(of_4.lo) of_2 = of_4.lo > of_4.hi ? of_4.lo : of_4.hi;
  return of_2.x > of_2.y ? of_2.x : of_2.y;
}

// A bit for each of the first 64 of `count` bytes that is not 0.
INLINE uint64_t which_are_set(const uint8_t* bytes, int64_t count) {
#ifdef BERTH_AVX512
  const __mmask64 there = count < 64 ? ((__mmask64)1 << count) - 1 : ~(__mmask64)0;
  const __m512i found = _mm512_maskz_loadu_epi8(there, bytes);
  return _mm512_test_epi8_mask(found, found);
#else
  __m256i found[2] = {0};
  if (count < 64)
    memcpy(found, bytes, count);
  else
    memcpy(found, bytes, sizeof found);
  const uint32_t low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(found[0], _mm256_setzero_si256()));
  const uint32_t high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(found[1], _mm256_setzero_si256()));
  return ~((uint64_t)high << 32 | low);
#endif
}

// A square of 16 rows of 16 numbers, turned over.
INLINE void turn_over(words a[16]) {
  words b[16];
#define MIXED(one, other, ...) __builtin_shufflevector(one, other, __VA_ARGS__)
#define LOW_WORDS 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH_WORDS 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOW_PAIRS 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_PAIRS 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define EVEN_FOURS 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define ODD_FOURS 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) b[i] = MIXED(a[i], a[i + 1], LOW_WORDS), b[i + 1] = MIXED(a[i], a[i + 1], HIGH_WORDS);
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = MIXED(b[i], b[i + 2], LOW_PAIRS), a[i + 1] = MIXED(b[i], b[i + 2], HIGH_PAIRS);
    a[i + 2] = MIXED(b[i + 1], b[i + 3], LOW_PAIRS), a[i + 3] = MIXED(b[i + 1], b[i + 3], HIGH_PAIRS);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const words even_low = MIXED(a[i], a[4 + i], EVEN_FOURS), odd_low = MIXED(a[i], a[4 + i], ODD_FOURS);
    const words even_high = MIXED(a[8 + i], a[12 + i], EVEN_FOURS), odd_high = MIXED(a[8 + i], a[12 + i], ODD_FOURS);
    b[i] = MIXED(even_low, even_high, EVEN_FOURS), b[8 + i] = MIXED(even_low, even_high, ODD_FOURS);
    b[4 + i] = MIXED(odd_low, odd_high, EVEN_FOURS), b[12 + i] = MIXED(odd_low, odd_high, ODD_FOURS);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) a[i] = b[i];
}

// Times two to the power of whole numbers from -200 to 0.
INLINE floats scaled(floats values, floats powers) {
#ifdef BERTH_AVX512
  return (floats)_mm512_scalef_ps((__m512)values, (__m512)powers);
#else
  // The last bits of a number of this size are worth one. In two steps, for what is too small for one.
  const floats ones = 12582912;
  const integers whole = (integers)(powers + ones) - (integers)ones, half = whole >> 1;
  return values * (floats)(half + 127 << 23) * (floats)(whole - half + 127 << 23);
#endif
}

// e to the power of x <= 0: two to the power of a whole number, by the exponent, and of the rest, by its series, whose
// next term is below 2e-8.
INLINE floats exponential(floats x) {
  const floats all = x * 1.44269504f;
  // What is no number has to stay none.
  const floats twos = all < -200 ? (floats)-200 : all;
  const floats whole = __builtin_elementwise_roundeven(twos), rest = twos - whole;
  static const float series[] = {
      1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f, 5.55041087e-2f, 0.240226507f, 0.693147181f, 1};
  floats power = series[0];
#pragma GCC unroll 6
  for (int i = 1; i < 7; i++) power = multiplied_and_added(power, rest, series[i]);
  return scaled(power, whole);
}

#endif
