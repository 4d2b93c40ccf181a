// bfloat16 and float32, and functions of the latter.

#ifndef BERTH_NUMBERS_H
#define BERTH_NUMBERS_H

#include <immintrin.h>
#include <stdint.h>

#include "team.h"

// 16 numbers.
INLINE __m512 load(const uint16_t* from) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

// To the nearest bfloat16, of two the even one, as torch does, in the upper half of each number.
INLINE __m512 rounded(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i up = _mm512_add_epi32(bits, _mm512_add_epi32(last, _mm512_set1_epi32(0x7fff)));
  up = _mm512_and_si512(up, _mm512_set1_epi32((int)0xffff0000));
  // The addition could make a number of what is none.
  up = _mm512_mask_set1_epi32(up, _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q), 0x7fc00000);
  return _mm512_castsi512_ps(up);
}

INLINE void store(uint16_t* to, __m512 values) {
  const __m512i bits = _mm512_castps_si512(rounded(values));
  _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(bits, 16)));
}

// A square of 16 rows of 16 numbers, turned over.
INLINE void turn_over(__m512i a[16]) {
  __m512i b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2)
    b[i] = _mm512_unpacklo_epi32(a[i], a[i + 1]), b[i + 1] = _mm512_unpackhi_epi32(a[i], a[i + 1]);
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    a[i] = _mm512_unpacklo_epi64(b[i], b[i + 2]), a[i + 1] = _mm512_unpackhi_epi64(b[i], b[i + 2]);
    a[i + 2] = _mm512_unpacklo_epi64(b[i + 1], b[i + 3]), a[i + 3] = _mm512_unpackhi_epi64(b[i + 1], b[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    const __m512i even_low = _mm512_shuffle_i32x4(a[i], a[4 + i], 0x88),
                  odd_low = _mm512_shuffle_i32x4(a[i], a[4 + i], 0xdd);
    const __m512i even_high = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0x88);
    const __m512i odd_high = _mm512_shuffle_i32x4(a[8 + i], a[12 + i], 0xdd);
    b[i] = _mm512_shuffle_i32x4(even_low, even_high, 0x88), b[8 + i] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
    b[4 + i] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88), b[12 + i] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) a[i] = b[i];
}

// e to the power of x <= 0: two to the power of a whole number, by the exponent, and of the rest, by its series, whose
// next term is below 2e-8.
INLINE __m512 exponential(__m512 x) {
  // What is no number has to stay none: the largest of two is the second then.
  const __m512 twos = _mm512_max_ps(_mm512_set1_ps(-200), _mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)));
  const __m512 whole = _mm512_roundscale_ps(twos, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(twos, whole);
  static const float series[] = {
      1.54035304e-4f, 1.33335581e-3f, 9.61812911e-3f, 5.55041087e-2f, 0.240226507f, 0.693147181f, 1};
  __m512 power = _mm512_set1_ps(series[0]);
#pragma GCC unroll 6
  for (int i = 1; i < 7; i++) power = _mm512_fmadd_ps(power, rest, _mm512_set1_ps(series[i]));
  return _mm512_scalef_ps(power, whole);
}

#endif
