/* What the pieces of C share: vectors of float32 as wide as the processor's registers, powers of two, what drops out, and threads.

What it is not: compiled by itself.
*/

#ifndef SEPTET_VECTORS
#define SEPTET_VECTORS

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define WIDTH 16
#elif defined(__AVX__)
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define LOG2_E 1.4426950408889634f

typedef float vec __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));

static inline vec all(float x) { return x - (vec){0}; }
static inline long up(long n, long by) { return (n + by - 1) / by * by; }

/* 2^x for x <= 0, within 2 units in the last place; 0 below -126; what is not a number stays none. */
static inline vec power(vec x)
{
    const vec shift = all(12582912.0f); /* adding it leaves the nearest integer in the last bits */
    vec low = all(-126.0f);
    ints real = ~(x < low);
    x = (vec)(((ints)x & real) | ((ints)low & ~real));
    vec moved = x + shift, f = x - (moved - shift);
    vec y = all(1.5403530e-4f);
    y = y * f + all(1.3333558e-3f);
    y = y * f + all(9.6181291e-3f);
    y = y * f + all(5.5504109e-2f);
    y = y * f + all(2.4022651e-1f);
    y = y * f + all(6.9314718e-1f);
    y = y * f + all(1.0f);
    return (vec)(((ints)y + ((ints)moved << 23)) & real);
}

static inline vec larger(vec a, vec b)
{
    ints first = a > b;
    return (vec)(((ints)a & first) | ((ints)b & ~first));
}

static float most_of(vec x)
{
    float most = x[0];
    for (int i = 1; i < WIDTH; i++) most = x[i] > most ? x[i] : most;
    return most;
}

static float sum_of(vec x)
{
    float sum = 0;
    for (int i = 0; i < WIDTH; i++) sum += x[i];
    return sum;
}

/* What drops out is drawn by place, so that it can be drawn again, and does not depend on threads: a key for each row, of the seed and
the row's number (SplitMix64's last step; Steele et al. 2014), and 32 bits for each place in it (multiply, shift and exclude, twice). */
static inline uint64_t key_of(uint64_t seed, uint64_t row)
{
    uint64_t x = seed + (row + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static inline uint32_t drawn(uint64_t key, uint32_t place)
{
    uint32_t x = place * 0x9e3779b9u + (uint32_t)key;
    x = (x ^ (x >> 16)) * 0x7feb352du ^ (uint32_t)(key >> 32);
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

/* x with the share drop / 2^32 of its numbers made 0. */
static inline void drop_out(float *x, long number, uint64_t key, uint32_t drop)
{
    for (long i = 0; i < number; i++) x[i] = drawn(key, (uint32_t)i) < drop ? 0.0f : x[i];
}

/* The number that 16 bits of bfloat16 are, and the bits nearest to a number. */
static inline float from_half(uint16_t bits)
{
    union { uint32_t bits; float value; } u = {(uint32_t)bits << 16};
    return u.value;
}

static inline uint16_t to_half(float value)
{
    union { float value; uint32_t bits; } u = {value};
    uint32_t nearest = (u.bits + 0x7fff + ((u.bits >> 16) & 1)) >> 16;
    return value == value ? (uint16_t)nearest : 0x7fc0;
}

/* GOMP_parallel of the OpenMP library that torch has loaded, whose threads are shared; NULL: the caller's thread alone. */
typedef void (*team)(void (*)(void *), void *, unsigned, unsigned);

static inline void together(void (*work)(void *), void *job, int threads, team parallel)
{
    if (parallel && threads > 1)
        parallel(work, job, (unsigned)threads, 0);
    else
        work(job);
}

#endif
