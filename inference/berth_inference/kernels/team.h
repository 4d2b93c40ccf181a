// A team of threads that compute one thing together, of a runtime that torch brings.

#ifndef BERTH_TEAM_H
#define BERTH_TEAM_H

// What every function of a vector needs: only a processor that has these may call one.
#ifdef BERTH_AVX512
#define WIDE __attribute__((target("avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")))
#else
#define WIDE __attribute__((target("avx2,fma")))
#endif
#define INLINE WIDE static inline __attribute__((always_inline))

struct team {
  int (*thread)(void), (*threads)(void);
  void (*barrier)(void);
};

#endif
