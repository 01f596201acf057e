/* Dropout: each number becomes 0 with some probability, and is scaled otherwise.

What drops out is drawn by place from the seed, so the backward pass is the same function on the gradient, and nothing is kept. The
result does not depend on which thread computes it.

What it is not: a library. `septet.nn.dropout` compiles and calls it, and knows how to do without it.

    cc -O3 -march=native -shared -fPIC dropout.c -o dropout.so -lm
*/

#include "vectors.h"

#define PIECE 4096 /* numbers that a thread takes at a time, and that share a key */

typedef struct {
    const void *from;
    void *to; /* may be the same */
    int64_t number;
    uint64_t seed;
    uint32_t drop;
    float kept; /* what the others are multiplied by */
    int32_t half, threads;
    int64_t next;
} job;

static void one_piece(const job *j, int64_t piece)
{
    int64_t first = piece * PIECE;
    long count = j->number - first < PIECE ? j->number - first : PIECE;
    uint64_t key = key_of(j->seed, (uint64_t)piece);
    if (j->half) {
        const uint16_t *from = (const uint16_t *)j->from + first;
        uint16_t *to = (uint16_t *)j->to + first;
        for (long i = 0; i < count; i++) {
            uint16_t kept = to_half(from_half(from[i]) * j->kept);
            to[i] = drawn(key, (uint32_t)i) < j->drop ? 0 : kept;
        }
    } else {
        const float *from = (const float *)j->from + first;
        float *to = (float *)j->to + first;
        for (long i = 0; i < count; i++) to[i] = drawn(key, (uint32_t)i) < j->drop ? 0.0f : from[i] * j->kept;
    }
}

static void work(void *given)
{
    job *j = given;
    for (;;) {
        int64_t piece = __atomic_fetch_add(&j->next, 1, __ATOMIC_RELAXED);
        if (piece * PIECE >= j->number) break;
        one_piece(j, piece);
    }
}

int dropout(job *j, team parallel)
{
    j->next = 0;
    together(work, j, j->number > 4 * PIECE ? j->threads : 1, parallel);
    return 0;
}
